/* Reads the record, lays the panels side by side, follows theme, language and width. */

const record = JSON.parse(document.getElementById("record").textContent);
const printed = matchMedia("print");
const panels = [];
let language = navigator.language.startsWith("ko") ? "ko" : "en";
let stretched = false;
let look;

function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

function theme() {
  document.documentElement.classList.toggle("printed", printed.matches);
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const colours = colourScale(colour("dark") === "1");
  const bright = (step) => {
    const [red, green, blue] = colours.subarray(step * 3, step * 3 + 3);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 130;
  };
  const names = ["ink", "muted", "faint", "line", "paper", "accent", "font", "mono"];
  return {
    ...Object.fromEntries(names.map((name) => [name, colour(name)])),
    colours,
    css: (step) => `rgb(${[...colours.subarray(step * 3, step * 3 + 3)]})`,
    contrast: (step) => (bright(step) ? "#16161a" : "#ffffff"),
  };
}

function legend() {
  const canvas = element("canvas", { width: 256, height: 1, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  for (let step = 0; step < 256; step++) {
    context.fillStyle = look.css(step);
    context.fillRect(step, 0, 1, 1);
  }
  const words = WORDS[language];
  const ends = element("span", { className: "ends" }, element("span", { textContent: "0" }), element("span", { textContent: stretched ? words.largest : "1" }));
  return element("div", { className: "legend" }, element("span", { textContent: words.legend }), element("div", {}, canvas, ends));
}

function build() {
  look = theme();
  document.documentElement.lang = language;
  const words = WORDS[language];
  const switcher = element("button", { type: "button", className: "language", textContent: words.other, lang: language === "en" ? "ko" : "en" });
  switcher.addEventListener("click", () => {
    language = language === "en" ? "ko" : "en";
    build();
    document.querySelector(".language").focus();
  });
  const box = element("input", { type: "checkbox", checked: stretched });
  box.addEventListener("change", () => {
    stretched = box.checked;
    build();
    document.querySelector("input").focus();
  });
  const some = panels.some((panel) => panel.kinds.length);
  const tools = some ? [legend(), element("label", {}, box, ` ${words.stretch}`)] : [];
  const exact = panels.every((panel) => panel.kinds.every((kind) => panel.maps[kind].flat().every((map) => map.exact)));
  const heading = element("div", {}, element("p", { className: "lead", textContent: words.lead }), element("h1", { textContent: record.title, dir: "auto" }));
  document.getElementById("page").replaceChildren(
    element("header", { className: "top" }, heading, element("div", { className: "tools" }, ...tools, switcher)),
    element("div", { className: "panels" }, ...panels.map((panel) => panel.build())),
    element("footer", {}, ...(some ? [words.caveat] : []), exact ? "" : ` ${words.rounded}`),
  );
  document.documentElement.style.setProperty("--panels", panels.length);
  panels.forEach((panel) => panel.refresh());
}

function repaint() {
  look = theme();
  document.querySelector(".legend")?.replaceWith(legend());
  panels.forEach((panel) => panel.refresh());
}

async function start() {
  for (const inspection of record.inspections) {
    const maps = {};
    for (const [kind, layers] of Object.entries(inspection.attention)) maps[kind] = await WeightMap.unpack(layers);
    panels.push(new Panel(inspection, maps));
  }
  build();
  new ResizeObserver(() => requestAnimationFrame(() => panels.forEach((panel) => panel.kinds.length && panel.draw()))).observe(document.body);
  for (const query of [printed, matchMedia("(prefers-color-scheme: dark)")]) query.addEventListener("change", repaint);
}

/* Read-only, for tests and the curious. */
Object.defineProperty(window, "heedful", {
  value: Object.freeze({
    version: record.version,
    ready: start().catch((error) => {
      document.getElementById("page").textContent = `${WORDS[language].failed} (${error.message})`;
      throw error;
    }),
    weight: (panel, kind, layer, head, row, column) => panels[panel].map(kind, layer, head).at(row, column),
    map: (panel, kind, layer, head) => Float32Array.from(panels[panel].map(kind, layer, head).values),
    get state() {
      return panels.map((panel) => panel.state);
    },
  }),
});
