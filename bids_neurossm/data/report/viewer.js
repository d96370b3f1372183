// Three slices through the brain with one number per region over them. Everything is in the page: no request is made.
const startViewer = async (root) => {
  const data = readData(root.dataset.source);
  const [anatomy, labels] = await Promise.all([unpack(data.anatomy, Uint8Array), unpack(data.labels, Uint16Array)]);
  const [nx, ny, nz] = data.shape;
  const tables = Object.fromEntries(Object.entries(data.colours).map(
    ([name, text]) => [name, Uint8Array.from(atob(text), (character) => character.charCodeAt(0))]));
  const find = (name) => root.querySelector(`[data-part="${name}"]`);
  const groups = [...new Set(data.layers.map((layer) => layer.group))];
  const state = { at: [Math.floor(nx / 2), Math.floor(ny / 2), Math.floor(nz / 2)], layer: data.layers[0], share: 100 };
  const at = (x, y, z) => x + nx * (y + ny * z);
  const millimetres = (axis) => Math.round(data.origin[axis] + data.step * state.at[axis]);
  const minus = (value) => String(value).replace("-", "−");
  const written = (layer, value) => {
    if (value === null) return "none";
    return layer.kind === "labels" ? layer.names[value - 1] : minus(Number(value.toPrecision(3)));
  };

  // Colour of each region under the chosen layer; null where it is not shown.
  let colours = [];
  const rgb = (hex) => [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));
  const recolour = () => {
    const { layer } = state;
    const known = layer.values.filter((value) => value !== null);
    const top = Math.max(...known.map(Math.abs), 1e-12);
    if (layer.kind === "labels") {
      colours = layer.values.map((value) => (value === null ? null : rgb(layer.tones[value - 1])));
    } else {
      const sizes = known.map(Math.abs).sort((a, b) => b - a);
      const least = sizes[Math.max(Math.ceil(sizes.length * state.share / 100) - 1, 0)];
      const table = tables[layer.kind];
      colours = layer.values.map((value) => {
        if (value === null || Math.abs(value) < least) return null;
        const place = Math.round(255 * (layer.kind === "signed" ? (value / top + 1) / 2 : Math.max(value, 0) / top));
        return [table[3 * place], table[3 * place + 1], table[3 * place + 2]];
      });
    }
    drawKey(top);
  };

  const drawKey = (top) => {
    const { layer } = state;
    const key = find("key");
    key.replaceChildren();
    if (layer.kind === "labels") {
      const present = new Set(layer.values);
      layer.names.forEach((name, place) => {
        if (!present.has(place + 1)) return;
        const swatch = make("span", { className: "swatch" });
        swatch.style.background = layer.tones[place];
        key.append(make("span", { className: "entry" }, swatch, name));
      });
      return;
    }
    const bar = make("canvas", { width: 256, height: 1, className: "bar" });
    const context = bar.getContext("2d");
    const image = context.createImageData(256, 1);
    for (let place = 0; place < 256; place += 1) {
      image.data.set([...tables[layer.kind].slice(3 * place, 3 * place + 3), 255], 4 * place);
    }
    context.putImageData(image, 0, 0);
    const low = layer.kind === "signed" ? -top : 0;
    key.append(minus(Number(low.toPrecision(2))), bar, minus(Number(top.toPrecision(2))), ` ${layer.unit}`);
  };

  const planes = [
    { canvas: find("sagittal"), axis: 0, across: 1, up: 2, ends: ["P", "A"] },
    { canvas: find("coronal"), axis: 1, across: 0, up: 2, ends: ["L", "R"] },
    { canvas: find("axial"), axis: 2, across: 0, up: 1, ends: ["L", "R"] },
  ];
  const scale = 4;
  const drawPlane = ({ canvas, axis, across, up, ends }) => {
    const [width, height] = [data.shape[across], data.shape[up]];
    const under = new ImageData(width, height);
    const over = new ImageData(width * scale, height * scale);
    const point = [...state.at];
    for (let row = 0; row < height; row += 1) {
      point[up] = height - 1 - row;
      for (let column = 0; column < width; column += 1) {
        point[across] = column;
        const place = at(point[0], point[1], point[2]);
        under.data.set([anatomy[place], anatomy[place], anatomy[place], 255], 4 * (row * width + column));
        const colour = labels[place] ? colours[labels[place] - 1] : null;
        if (!colour) continue;
        // A slightly darker rim where the next voxel is another region.
        const rim = labels[place] !== labels[place + [1, nx, nx * ny][across]] ? 0.72 : 1;
        for (let y = 0; y < scale; y += 1) {
          for (let x = 0; x < scale; x += 1) {
            const shade = x === scale - 1 ? rim : 1;
            const target = 4 * ((row * scale + y) * width * scale + column * scale + x);
            over.data[target] = colour[0] * shade;
            over.data[target + 1] = colour[1] * shade;
            over.data[target + 2] = colour[2] * shade;
            over.data[target + 3] = 215;
          }
        }
      }
    }
    canvas.width = width * scale;
    canvas.height = height * scale;
    const context = canvas.getContext("2d");
    const sheet = (image) => {
      const other = make("canvas", { width: image.width, height: image.height });
      other.getContext("2d").putImageData(image, 0, 0);
      return other;
    };
    context.imageSmoothingEnabled = true;
    context.drawImage(sheet(under), 0, 0, canvas.width, canvas.height);
    context.drawImage(sheet(over), 0, 0);
    context.strokeStyle = "rgba(255, 255, 255, .55)";
    const [x, y] = [(state.at[across] + 0.5) * scale, (height - state.at[up] - 0.5) * scale];
    context.beginPath();
    context.moveTo(x, 0); context.lineTo(x, canvas.height);
    context.moveTo(0, y); context.lineTo(canvas.width, y);
    context.stroke();
    context.fillStyle = "#fff";
    context.font = "16px sans-serif";
    context.fillText(ends[0], 6, canvas.height / 2);
    context.textAlign = "right";
    context.fillText(ends[1], canvas.width - 6, canvas.height / 2);
    context.textAlign = "left";
    context.fillText(`${"xyz"[axis]} = ${minus(millimetres(axis))} mm`, 6, 20);
  };

  const describe = () => {
    const region = labels[at(...state.at)] - 1;
    const place = `(${[0, 1, 2].map((axis) => minus(millimetres(axis))).join(", ")}) mm`;
    const name = region < 0 ? "no region of the atlas" : data.names[region];
    const network = region >= 0 && data.networks[region] ? `, ${data.networks[region]}` : "";
    const facts = region < 0 ? [] : data.layers.filter((layer) => layer.group === state.layer.group)
      .map((layer) => `${layer.name}: ${written(layer, layer.values[region])}`);
    find("region").textContent = `${name}${network}`;
    find("facts").textContent = [place, ...facts].join(" · ");
    for (const axis of [0, 1, 2]) {
      const slider = find("xyz"[axis]);
      slider.value = state.at[axis];
      slider.setAttribute("aria-valuetext", `${millimetres(axis)} millimetres`);
    }
    find("jump").value = region < 0 ? "" : String(region);
  };
  let waiting = false;
  const draw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      planes.forEach(drawPlane);
      describe();
    });
  };
  const move = (axis, value) => {
    state.at[axis] = Math.min(Math.max(Math.round(value), 0), data.shape[axis] - 1);
    draw();
  };

  for (const plane of planes) {
    const { canvas, across, up, axis } = plane;
    const point = (event) => {
      const box = canvas.getBoundingClientRect();
      move(across, (event.clientX - box.left) / box.width * data.shape[across] - 0.5);
      move(up, data.shape[up] - 0.5 - (event.clientY - box.top) / box.height * data.shape[up]);
    };
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); point(event); });
    canvas.addEventListener("pointermove", (event) => { if (event.buttons) point(event); });
    canvas.addEventListener("keydown", (event) => {
      const steps = {
        ArrowLeft: [across, -1], ArrowRight: [across, 1], ArrowUp: [up, 1], ArrowDown: [up, -1],
        PageUp: [axis, 1], PageDown: [axis, -1],
      };
      if (!(event.key in steps)) return;
      event.preventDefault();
      move(steps[event.key][0], state.at[steps[event.key][0]] + steps[event.key][1]);
    });
  }
  for (const axis of [0, 1, 2]) {
    const slider = find("xyz"[axis]);
    slider.max = data.shape[axis] - 1;
    slider.addEventListener("input", () => move(axis, Number(slider.value)));
  }
  const group = find("group");
  const layer = find("layer");
  group.append(...groups.map((name) => make("option", { value: name, textContent: name })));
  const fillLayers = () => {
    const wanted = state.layer.name;
    const own = data.layers.filter((each) => each.group === group.value);
    layer.replaceChildren(...own.map((each) => make("option", { value: each.name, textContent: each.name })));
    state.layer = own.find((each) => each.name === wanted) ?? own[0];
    layer.value = state.layer.name;
  };
  const show = () => {
    state.layer = data.layers.find((each) => each.group === group.value && each.name === layer.value);
    find("share").disabled = state.layer.kind === "labels";
    recolour();
    draw();
  };
  group.addEventListener("input", () => { fillLayers(); show(); });
  layer.addEventListener("input", show);
  find("share").addEventListener("input", (event) => {
    state.share = Number(event.target.value);
    find("shown").textContent = `${state.share} %`;
    show();
  });
  const jump = find("jump");
  jump.append(make("option", { value: "", textContent: "go to a region" }), ...data.names
    .map((name, place) => [name, place]).filter(([, place]) => data.centres[place])
    .map(([name, place]) => make("option", { value: String(place), textContent: name })));
  const goTo = (region) => {
    state.at = [...data.centres[region]];
    draw();
  };
  jump.addEventListener("input", () => { if (jump.value) goTo(Number(jump.value)); });
  // It opens where the first map is highest.
  const first = state.layer.values;
  const best = first.reduce((found, value, place) => (
    value !== null && data.centres[place] && (found < 0 || value > first[found]) ? place : found), -1);
  group.value = state.layer.group;
  fillLayers();
  root.hidden = false;
  show();
  if (best >= 0) goTo(best);
};
document.querySelectorAll(".viewer").forEach((root) => {
  if ("DecompressionStream" in window) startViewer(root);
});
