"use strict";
// What every page does: tables that sort and filter, text that can be copied, details that are open on paper.
// Without JavaScript the page shows the same content, unsorted.
document.documentElement.classList.add("js");

const make = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};

const unpack = async (text, Kind) => {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Kind(await new Response(stream).arrayBuffer());
};

const readData = (identifier) => JSON.parse(document.getElementById(identifier).textContent);

const sortable = (table) => {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  const rows = [...body.rows];
  const key = (row, column) => row.cells[column].dataset.k ?? row.cells[column].textContent.trim();
  const sortBy = (column, direction) => {
    const numeric = headings[column].classList.contains("number");
    const factor = direction === "ascending" ? 1 : -1;
    const missing = (value) => value === "" || value === "–";
    rows.sort((one, other) => {
      const [a, b] = [key(one, column), key(other, column)];
      // What is missing stays at the end, whichever way the rest is turned.
      if (missing(a) || missing(b)) return missing(a) - missing(b);
      return factor * (numeric ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true }));
    });
    body.append(...rows);
    headings.forEach((heading, place) => {
      if (place === column) heading.setAttribute("aria-sort", direction);
      else heading.removeAttribute("aria-sort");
    });
  };
  headings.forEach((heading, column) => {
    const button = make("button", { type: "button", className: "sort" }, ...heading.childNodes);
    button.addEventListener("click", () => {
      const first = heading.classList.contains("number") ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      sortBy(column, heading.getAttribute("aria-sort") === first ? second : first);
    });
    heading.append(button);
  });
  if (rows.length < 8) return;
  const box = table.closest(".table");
  const tools = make("div", { className: "tools" });
  const search = make("input", { type: "search", placeholder: "Filter rows" });
  search.setAttribute("aria-label", `Filter rows of: ${table.caption.textContent.trim()}`);
  const choices = (table.dataset.filters || "").split(",").filter(Boolean).map((text) => {
    const column = Number(text);
    const name = headings[column].textContent.trim();
    const select = make("select", {}, make("option", { value: "", textContent: `${name}: all` }));
    select.setAttribute("aria-label", name);
    const values = [...new Set(rows.map((row) => row.cells[column].textContent.trim()))].sort();
    select.append(...values.map((value) => make("option", { value, textContent: value })));
    return { column, select };
  });
  const count = make("span", { className: "soft" });
  count.setAttribute("role", "status");
  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const kept = words.every((word) => text.includes(word))
        && choices.every(({ column, select }) => !select.value || row.cells[column].textContent.trim() === select.value);
      row.hidden = !kept;
      shown += kept;
    }
    count.textContent = `${shown} of ${rows.length} rows`;
  };
  for (const control of [search, ...choices.map((choice) => choice.select)]) control.addEventListener("input", apply);
  tools.append(search, ...choices.map((choice) => choice.select), count);
  box.before(tools);
  apply();
};
document.querySelectorAll("table.sortable").forEach(sortable);

document.querySelectorAll("button.copy").forEach((button) => {
  const source = document.getElementById(button.dataset.target);
  const label = button.textContent;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      // Some browsers keep the clipboard from pages without a server: the text is marked, one keystroke from copied.
      getSelection().selectAllChildren(source);
      button.textContent = "Marked: press Ctrl+C";
    }
    setTimeout(() => { button.textContent = label; }, 2500);
  });
});

// A link into closed details opens them; on paper everything is open.
const reveal = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
};
addEventListener("hashchange", reveal);
reveal();
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details:not([open]):not(.screen)")];
  closed.forEach((node) => { node.open = true; });
});
addEventListener("afterprint", () => closed.forEach((node) => { node.open = false; }));

// The contents show where one is.
const entries = new Map([...document.querySelectorAll("nav.contents a")].map((link) => [link.hash.slice(1), link]));
const headings = [...entries.keys()].map((identifier) => document.getElementById(identifier)).filter(Boolean);
let marking = false;
const mark = () => {
  marking = false;
  const passed = headings.filter((heading) => heading.getBoundingClientRect().top < innerHeight * 0.3);
  const current = (passed.at(-1) ?? headings[0])?.id;
  entries.forEach((link, identifier) => {
    if (identifier === current) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  });
};
addEventListener("scroll", () => {
  if (!marking) requestAnimationFrame(mark);
  marking = true;
}, { passive: true });
mark();
