// The series of two regions of a run over each other, from the numbers in the page.
const startExplorer = async (root) => {
  const data = readData(root.dataset.source);
  const values = await unpack(data.series, Int8Array);
  const find = (name) => root.querySelector(`[data-part="${name}"]`);
  const canvas = find("plot");
  const length = data.volumes;
  const seriesOf = (region) => Float32Array.from(
    values.subarray(region * length, (region + 1) * length), (value) => (value === -128 ? NaN : value * data.scale));
  const minus = (value, digits) => value.toFixed(digits).replace("-", "−");
  const selects = [find("one"), find("other")];
  const networks = [...new Set(data.networks)];
  for (const select of selects) {
    for (const network of networks) {
      const options = data.names.map((name, place) => [name, place])
        .filter(([, place]) => data.networks[place] === network && data.used[place])
        .map(([name, place]) => make("option", { value: String(place), textContent: name }));
      if (!options.length) continue;
      if (network) {
        const group = make("optgroup", { label: network });
        group.append(...options);
        select.append(group);
      } else select.append(...options);
    }
  }
  const usable = data.names.map((_, place) => place).filter((place) => data.used[place]);
  selects[0].value = String(usable[0]);
  selects[1].value = String(usable[Math.min(Math.floor(usable.length / 2), usable.length - 1)]);
  let cursor = null;
  const correlation = (one, other) => {
    let [n, a, b, aa, bb, ab] = [0, 0, 0, 0, 0, 0];
    one.forEach((value, place) => {
      const second = other[place];
      if (Number.isNaN(value) || Number.isNaN(second)) return;
      n += 1; a += value; b += second; aa += value * value; bb += second * second; ab += value * second;
    });
    return (ab - a * b / n) / Math.sqrt((aa - a * a / n) * (bb - b * b / n));
  };
  const draw = () => {
    const style = getComputedStyle(document.documentElement);
    const ratio = devicePixelRatio || 1;
    const width = Math.max(canvas.clientWidth, 260);
    const height = 230;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.font = "12px sans-serif";
    const [left, right, top, bottom] = [44, 10, 10, 36];
    const x = (place) => left + (width - left - right) * (place + 0.5) / length;
    const y = (value) => top + (height - top - bottom) * (1 - (value + 4) / 8);
    context.strokeStyle = style.getPropertyValue("--line");
    context.fillStyle = style.getPropertyValue("--soft");
    context.textAlign = "right";
    for (const level of [-4, -2, 0, 2, 4]) {
      context.beginPath(); context.moveTo(left, y(level)); context.lineTo(width - right, y(level)); context.stroke();
      context.fillText(minus(level, 0), left - 6, y(level) + 4);
    }
    context.textAlign = "center";
    const total = length * data.step;
    const raw = total / Math.max(width / 110, 2);
    const power = 10 ** Math.floor(Math.log10(raw));
    const tick = power * [1, 2, 5, 10].find((factor) => factor * power >= raw);
    for (let time = 0; time <= total; time += tick) {
      context.fillText(String(Number(time.toFixed(6))), left + (width - left - right) * time / total, height - bottom + 16);
    }
    context.fillText(`Time in the cleaned series (${data.unit})`, left + (width - left - right) / 2, height - 4);
    context.save();
    context.translate(11, top + (height - top - bottom) / 2);
    context.rotate(-Math.PI / 2);
    context.fillText("Signal (SD)", 0, 0);
    context.restore();
    context.strokeStyle = style.getPropertyValue("--bad");
    context.setLineDash([3, 3]);
    for (const place of data.gaps) {
      context.beginPath(); context.moveTo(x(place - 0.5), top); context.lineTo(x(place - 0.5), height - bottom); context.stroke();
    }
    context.setLineDash([]);
    const shown = selects.map((select) => (select.value === "" ? null : seriesOf(Number(select.value))));
    shown.forEach((series, which) => {
      if (!series) return;
      context.strokeStyle = style.getPropertyValue(which ? "--second" : "--first");
      context.lineWidth = 1.5;
      context.setLineDash(which ? [5, 2] : []);
      context.beginPath();
      let open = false;
      series.forEach((value, place) => {
        if (Number.isNaN(value) || (data.gaps.includes(place) && open)) open = false;
        if (Number.isNaN(value)) return;
        if (open) context.lineTo(x(place), y(value)); else context.moveTo(x(place), y(value));
        open = true;
      });
      context.stroke();
    });
    context.setLineDash([]);
    const parts = [];
    if (shown[0] && shown[1] && selects[0].value !== selects[1].value) {
      parts.push(`r = ${minus(correlation(shown[0], shown[1]), 2)} over n = ${length} volumes`);
    }
    if (cursor !== null) {
      context.strokeStyle = style.getPropertyValue("--ink");
      context.lineWidth = 1;
      context.beginPath(); context.moveTo(x(cursor), top); context.lineTo(x(cursor), height - bottom); context.stroke();
      const said = shown.map((series, which) => (series && !Number.isNaN(series[cursor])
        ? `${data.names[Number(selects[which].value)]} ${minus(series[cursor], 1)} SD` : null)).filter(Boolean);
      parts.push(`at ${((cursor + 0.5) * data.step).toFixed(1)} ${data.unit}: ${said.join(", ")}`);
    }
    find("facts").textContent = parts.join(" · ");
  };
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    const share = (event.clientX - box.left - 44) / (box.width - 54);
    cursor = Math.min(Math.max(Math.floor(share * length), 0), length - 1);
    draw();
  };
  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageDown: -20, PageUp: 20 }[event.key];
    if (!step) return;
    event.preventDefault();
    cursor = Math.min(Math.max((cursor ?? 0) + step, 0), length - 1);
    draw();
  });
  selects.forEach((select) => select.addEventListener("input", draw));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  root.hidden = false;
  new ResizeObserver(draw).observe(canvas);
};
document.querySelectorAll(".explorer").forEach((root) => {
  if ("DecompressionStream" in window) startExplorer(root);
});
