/* One inspection: its text, all heads at a glance, one head large, pointer and keyboard. */

/* A token in the running text. Pieces of text stay in its flow, so that scripts join and numbers keep their order;
   what is not text of the sentence is isolated from it. */
function chip({ token, inline, kind }) {
  return element(kind === "piece" ? "span" : "bdi", { className: `chip ${inline ? kind : "blank"}`, title: token, textContent: inline || "▁" });
}

class Panel {
  constructor(inspection, maps) {
    Object.assign(this, { inspection, maps, row: null, column: null, pinned: false });
    this.means = new Map();
    this.kinds = Object.keys(maps);
    this.choose(this.kinds[0]);
  }

  /* Layer and head are indices or "mean"; one map alone needs no mean. */
  choose(kind) {
    this.kind = kind ?? null;
    const single = kind && this.maps[kind].length === 1 && this.maps[kind][0].length === 1;
    this.layer = this.head = single ? 0 : "mean";
  }

  map(kind = this.kind, layer = this.layer, head = this.head) {
    if (head !== "mean") return this.maps[kind][layer][head];
    const name = `${kind} ${layer}`;
    const heads = layer === "mean" ? this.maps[kind].flat() : this.maps[kind][layer];
    if (!this.means.has(name)) this.means.set(name, WeightMap.mean(heads));
    return this.means.get(name);
  }

  get words() {
    return WORDS[language];
  }

  /* The tokens that rows and columns stand for. */
  axes(source, target, inputs) {
    if (this.kind === "encoder") return [source, source];
    return [target, this.kind === "cross" ? source : inputs];
  }

  build() {
    const { inspection, words } = this;
    const score = `${words.score} ${inspection.score.toFixed(3).replace("-", "−")}`;
    this.node = element(
      "article",
      { className: "panel" },
      element("header", {}, element("h2", { textContent: inspection.model }), element("p", { textContent: score, title: words.scoreTitle })),
      this.reading(),
    );
    if (this.kinds.length) this.node.append(...this.looking());
    else this.node.append(this.bottleneck());
    return this.node;
  }

  reading() {
    const { inspection, words } = this;
    this.sourceChips = inspection.source_tokens.map(chip);
    this.targetChips = inspection.tokens.map(chip);
    this.beginChip = chip(inspection.decoder_inputs[0]);
    this.beginChip.hidden = true;
    const line = (name, direction, tokens, chips) => {
      const text = element("dd", { dir: direction, className: "line" });
      chips.forEach((one, index) => text.append(tokens[index].space ? " " : "", one));
      return [element("dt", { textContent: name }), text];
    };
    const lines = element("dl", { className: "reading" });
    lines.append(...line(words.source, inspection.source_direction, inspection.source_tokens, this.sourceChips));
    const target = inspection.forced ? words.given : words.found;
    lines.append(...line(target, inspection.text_direction, inspection.tokens, this.targetChips));
    lines.lastChild.prepend(this.beginChip);
    if (this.kinds.length) {
      this.sourceChips.forEach((one, index) => this.listen(one, () => this.chipCell(true, index)));
      this.targetChips.forEach((one, index) => this.listen(one, () => this.chipCell(false, index)));
    }
    return lines;
  }

  /* What a token of the text stands for in the map in view: a row where it looks, else a column. */
  chipCell(isSource, index) {
    if (this.kind === "cross") return isSource ? { row: null, column: index } : { row: index, column: null };
    return isSource === (this.kind === "encoder") ? { row: index, column: null } : null;
  }

  listen(node, cell) {
    node.addEventListener("pointermove", (event) => this.point(cell(event)));
    node.addEventListener("pointerleave", () => this.point(null));
    node.addEventListener("click", (event) => this.pin(cell(event)));
  }

  point(cell) {
    if (!this.pinned) this.mark(cell?.row ?? null, cell?.column ?? null);
  }

  pin(cell) {
    const again = this.pinned && cell?.row === this.row && cell?.column === this.column;
    this.pinned = cell !== null && !again;
    this.mark(cell?.row ?? null, cell?.column ?? null);
  }

  bottleneck() {
    const { words } = this;
    return element(
      "section",
      { className: "bottleneck" },
      element("div", { className: "funnel", "aria-hidden": "true" }, element("i"), element("b", { textContent: words.vector }), element("i")),
      element("p", { className: "statement" }, element("strong", { textContent: words.none }), ` ${words.noneText}`),
    );
  }

  looking() {
    const { words } = this;
    const button = (kind) => {
      const node = element("button", { type: "button", textContent: words.kinds[kind], value: kind });
      node.addEventListener("click", () => {
        this.choose(kind);
        this.pinned = false;
        this.refresh();
      });
      return node;
    };
    this.kindButtons = this.kinds.map(button);
    this.explanation = element("p", { className: "explanation" });
    this.overview = element("section", { className: "overview" });
    const views = element("div", { className: "views" }, this.overview, this.large());
    const kinds = element("div", { className: "kinds", role: "group", hidden: this.kinds.length === 1 }, ...this.kindButtons);
    return [kinds, this.explanation, views];
  }

  large() {
    const { words } = this;
    this.title = element("h3");
    const zoom = (label, name, action) => {
      const node = element("button", { type: "button", textContent: label, title: name, "aria-label": name });
      node.addEventListener("click", action);
      return node;
    };
    this.zooms = element(
      "span",
      { className: "zooms" },
      zoom("+", words.zoomIn, () => this.heatmap.zoom(0.5)),
      zoom("−", words.zoomOut, () => this.heatmap.zoom(2)),
      zoom("⤢", words.fit, () => this.heatmap.zoom(Infinity)),
    );
    this.tip = element("div", { className: "tip", hidden: true, "aria-hidden": "true" });
    this.plot = element("div", { className: "plot", tabIndex: 0, role: "application" });
    const canvas = element("canvas");
    this.plot.append(canvas, this.tip);
    this.heatmap = new Heatmap(canvas);
    this.listen(canvas, (event) => this.heatmap.cell(event));
    this.plot.addEventListener("keydown", (event) => this.key(event));
    this.live = element("p", { className: "unseen", role: "status" });
    this.summary = element("summary");
    this.table = element("table");
    this.details = element("details", {}, this.summary, element("div", {}, this.table));
    this.details.addEventListener("toggle", () => this.tabulate());
    const bar = element("div", { className: "bar" }, this.title, this.zooms);
    return element("section", { className: "large" }, bar, this.plot, this.live, this.details);
  }

  /* Everything that depends on kind, head, theme or width. */
  refresh() {
    if (!this.kinds.length) return;
    this.row = this.column = null;
    this.heatmap.row = this.heatmap.column = null;
    this.kindButtons.forEach((node) => node.setAttribute("aria-pressed", node.value === this.kind));
    const layers = this.maps[this.kind];
    const { words } = this;
    const counts = [...new Set(layers.map((heads) => heads.length))].join("/");
    this.explanation.textContent = words.explain[this.kind];
    this.beginChip.hidden = this.kind !== "decoder";
    this.overview.hidden = layers.length * Math.max(...layers.map((heads) => heads.length)) === 1;
    this.node.classList.toggle("single", this.overview.hidden);
    const name = `${words.overview} (${layers.length} × ${counts})`;
    if (!this.overview.hidden) this.overview.replaceChildren(element("h3", { textContent: name }), this.grid(layers));
    this.select(this.layer, this.head);
  }

  grid(layers) {
    const heads = Math.max(...layers.map((layer) => layer.length));
    const grid = element("div", { className: "grid", role: "radiogroup", "aria-label": this.words.overview });
    grid.style.setProperty("--heads", heads + 1);
    this.thumbnails = [];
    const label = (text) => element("span", { className: "axis", textContent: text, "aria-hidden": "true" });
    grid.append(label(""), ...Array.from({ length: heads }, (_, head) => label(head + 1)), label(this.words.mean));
    layers.forEach((layer, index) => {
      grid.append(label(index + 1));
      for (let head = 0; head < heads; head++) grid.append(head < layer.length ? this.thumbnail(index, head) : label(""));
      grid.append(this.thumbnail(index, "mean"));
    });
    if (layers.length > 1) {
      const all = label(this.words.meanAll);
      all.className += " all";
      grid.append(all, this.thumbnail("mean", "mean"));
    }
    grid.addEventListener("keydown", (event) => this.walk(event, heads));
    return grid;
  }

  thumbnail(layer, head) {
    const map = this.map(this.kind, layer, head);
    const canvas = paint(map, [0, map.rows, 0, map.columns], [64, 64], look.colours, this.top(map));
    canvas.style.aspectRatio = String(Math.min(2, Math.max(0.5, map.columns / map.rows)));
    const name = this.name(layer, head);
    const button = element("button", { type: "button", role: "radio", title: name, "aria-label": name }, canvas);
    button.addEventListener("click", () => this.select(layer, head));
    this.thumbnails.push({ layer, head, button });
    return button;
  }

  /* Arrow keys in the overview, as in a radio group: the choice follows the focus. */
  walk(event, heads) {
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const layers = this.maps[this.kind].length;
    const [row, column] = [this.layer === "mean" ? layers : this.layer, this.head === "mean" ? heads : this.head];
    const [toRow, toColumn] = [row + step[0], column + step[1]];
    const layer = toRow === layers ? "mean" : toRow;
    const head = toColumn === heads || layer === "mean" ? "mean" : toColumn;
    const next = this.thumbnails.find((one) => one.layer === layer && one.head === head);
    next?.button.focus();
    if (next) this.select(layer, head);
  }

  name(layer, head) {
    const { words } = this;
    if (layer === "mean") return words.meanAll;
    const number = `${words.layer} ${layer + 1}`;
    return head === "mean" ? `${number}, ${words.meanOf}` : `${number}, ${words.head} ${head + 1}`;
  }

  top(map) {
    return stretched ? map.largest : 1;
  }

  select(layer, head) {
    Object.assign(this, { layer, head });
    for (const one of this.overview.hidden ? [] : this.thumbnails) {
      const chosen = one.layer === layer && one.head === head;
      one.button.setAttribute("aria-checked", chosen);
      one.button.tabIndex = chosen ? 0 : -1;
    }
    const map = this.map();
    const largest = `${this.words.largest} ${spoken(map, map.largest)}`;
    this.title.textContent = this.overview.hidden ? this.words.only : this.name(layer, head);
    this.title.append(" ", element("small", { textContent: largest }));
    const label = `${this.words.kinds[this.kind]}, ${this.title.textContent}. ${this.words.help}`;
    this.plot.setAttribute("aria-label", label);
    this.draw();
    this.mark(this.row, this.column);
  }

  draw() {
    const width = this.plot.clientWidth;
    if (!this.kinds.length || !width) return;
    const { inspection } = this;
    const map = this.map();
    const axes = this.axes(inspection.source_tokens, inspection.tokens, inspection.decoder_inputs);
    this.heatmap.show(map, ...axes, { ...look, width, height: 620, top: this.top(map) });
    this.zooms.hidden = !this.heatmap.zoomable;
  }

  mark(row, column, told = false) {
    Object.assign(this, { row, column });
    if (!this.heatmap?.map) return;
    this.heatmap.mark(row, column);
    this.tint();
    this.pointOut();
    this.tabulate();
    if (!told) this.tell();
  }

  /* Other panels follow where they have the same token at the same place. */
  tell() {
    for (const other of panels) {
      if (other === this || other.kind !== this.kind || other.pinned) continue;
      const same = (tokens, index) => index !== null && tokens(this)[index].token === tokens(other)[index]?.token;
      const tokens = (axis) => ({ inspection: it }) => this.axes(it.source_tokens, it.tokens, it.decoder_inputs)[axis];
      other.mark(same(tokens(0), this.row) ? this.row : null, same(tokens(1), this.column) ? this.column : null, true);
    }
  }

  /* The text itself: what the marked token looks at, or, for a column, what looks at it. */
  tint() {
    const map = this.map();
    const { row, column } = this;
    const chips = [...this.sourceChips, ...this.targetChips, this.beginChip];
    for (const one of chips) {
      one.classList.remove("marked");
      one.style.backgroundColor = one.style.color = "";
    }
    const [queries, keys] = this.axes(this.sourceChips, this.targetChips, [this.beginChip, ...this.targetChips]);
    const byRow = row !== null;
    const weights = byRow ? (index) => map.at(row, index) : (index) => map.at(index, column);
    for (let index = 0; (byRow || column !== null) && index < (byRow ? map.columns : map.rows); index++) {
      const step = shade(weights(index), this.top(map));
      const one = (byRow ? keys : queries)[index];
      if (step < 2) continue;
      one.style.backgroundColor = look.css(step);
      one.style.color = look.contrast(step);
    }
    for (const one of [row === null ? null : queries[row], column === null ? null : keys[column]]) {
      one?.classList.add("marked");
      const line = one?.parentNode;
      const outside = line && (one.offsetTop < line.scrollTop || one.offsetTop > line.scrollTop + line.clientHeight - 20);
      if (outside) line.scrollTop = one.offsetTop - line.clientHeight / 2;
    }
  }

  /* Who looks, at what, how much. */
  cellText() {
    const { inspection, row, column } = this;
    const [queries, keys] = this.axes(inspection.source_tokens, inspection.tokens, inspection.decoder_inputs);
    const map = this.map();
    return [queries[row].text || "▁", keys[column].text || "▁", spoken(map, map.at(row, column))];
  }

  pointOut() {
    const { row, column, tip, heatmap } = this;
    tip.hidden = row === null || column === null;
    if (tip.hidden) return;
    const [query, key, weight] = this.cellText();
    const isolated = (text) => element("bdi", { textContent: text });
    tip.replaceChildren(isolated(query), " → ", isolated(key), element("b", { textContent: weight }));
    const [x, y] = heatmap.corner(row, column);
    const room = this.plot.clientWidth - tip.offsetWidth;
    tip.style.left = `${Math.max(0, Math.min(room, x + heatmap.pitch / 2 - tip.offsetWidth / 2))}px`;
    tip.style.top = `${y - tip.offsetHeight - 8}px`;
  }

  key(event) {
    const map = this.map();
    const zooms = { "+": 0.5, "=": 0.5, "-": 2, 0: Infinity };
    const [row, column] = [this.row ?? 0, this.column ?? 0];
    const fresh = this.row === null || this.column === null;
    const cells = {
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      Home: [row, 0],
      End: [row, map.columns - 1],
    };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in cells) {
      const [toRow, toColumn] = fresh ? [row, column] : cells[event.key];
      this.pinned = true;
      this.mark(Math.max(0, Math.min(map.rows - 1, toRow)), Math.max(0, Math.min(map.columns - 1, toColumn)));
      const [query, key, weight] = this.cellText();
      this.live.textContent = `${query} → ${key}, ${weight}`;
    } else if (event.key in zooms) this.heatmap.zoom(zooms[event.key]);
    else if (event.key === "Escape") this.pin(null);
    else return;
    event.preventDefault();
  }

  /* The marked row, or the first, as a table: the map for those who cannot see it. */
  tabulate() {
    const { inspection, words } = this;
    const [queries, keys] = this.axes(inspection.source_tokens, inspection.tokens, inspection.decoder_inputs);
    const row = this.row ?? 0;
    this.summary.textContent = words.row(`“${queries[row].text || "▁"}”`);
    if (!this.details.open) return;
    const map = this.map();
    const cell = (tag, ...children) => element(tag, {}, ...children);
    const lines = keys.map((key, column) => {
      const weight = map.at(row, column);
      const bar = element("i", { className: "weight" });
      bar.style.width = `${100 * weight}%`;
      return cell("tr", cell("td", element("bdi", { textContent: key.text || "▁" })), cell("td", spoken(map, weight)), cell("td", bar));
    });
    const head = cell("tr", cell("th", words.token), cell("th", words.weight), element("td"));
    this.table.replaceChildren(cell("thead", head), cell("tbody", ...lines));
  }

  get state() {
    const { kind, layer, head, row, column } = this;
    const { left, top, pitch } = this.heatmap ?? {};
    return { model: this.inspection.model, kinds: [...this.kinds], kind, layer, head, row, column, left, top, pitch };
  }
}
