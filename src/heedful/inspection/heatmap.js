/* Weights, colours and one large map on Canvas 2D. Knows no model and no page. */

const STEPS = 256;

/* Lightness changes in even steps in OKLab, so that equal differences of weight look equal. */
function colourScale(dark) {
  const [from, to] = dark ? [[0.2, 0.012, 262], [0.93, 0.075, 235]] : [[0.988, 0.003, 90], [0.34, 0.16, 265]];
  const colours = new Uint8ClampedArray(STEPS * 3);
  for (let step = 0; step < STEPS; step++) {
    const share = step / (STEPS - 1);
    const bulge = 0.25 * (dark ? 0.45 : 0.1) * share * (1 - share);
    const lightness = from[0] + share * (to[0] - from[0]);
    const chroma = from[1] + share * (to[1] - from[1]) + bulge;
    const hue = ((dark ? from[2] + share * (to[2] - from[2]) : to[2] - 12 * (1 - share)) * Math.PI) / 180;
    colours.set(toRgb(lightness, chroma * Math.cos(hue), chroma * Math.sin(hue)), step * 3);
  }
  return colours;
}

function toRgb(lightness, a, b) {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ].map((linear) => 255 * (linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055));
}

/* One head, or a mean of heads: rows are queries, columns are keys. */
class WeightMap {
  constructor(values, rows, columns, exact) {
    Object.assign(this, { values, rows, columns, exact });
  }

  at(row, column) {
    const value = this.values[row * this.columns + column];
    return this.values instanceof Uint8Array ? (value / 255) ** 2 : value;
  }

  get largest() {
    this.maximum ??= this.pooled([0, this.rows, 0, this.columns], 1, 1)[0];
    return this.maximum;
  }

  /* The largest weight in each of height × width blocks of a window [top, bottom, left, right). */
  pooled([top, bottom, left, right], height, width) {
    const result = new Float32Array(height * width);
    for (let row = top; row < bottom; row++) {
      const line = Math.floor(((row - top) * height) / (bottom - top)) * width;
      for (let column = left; column < right; column++) {
        const cell = line + Math.floor(((column - left) * width) / (right - left));
        result[cell] = Math.max(result[cell], this.at(row, column));
      }
    }
    return result;
  }

  static mean(maps) {
    const [{ rows, columns }] = maps;
    const total = new Float64Array(rows * columns);
    for (const map of maps) {
      for (let row = 0, cell = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++, cell++) total[cell] += map.at(row, column);
      }
    }
    const values = Float32Array.from(total, (value) => value / maps.length);
    return new WeightMap(values, rows, columns, maps.every((map) => map.exact));
  }

  /* [layer][head] from the blocks of one kind. */
  static async unpack(layers) {
    return Promise.all(
      layers.map(async ({ shape: [heads, rows, columns], coding, data }) => {
        const text = atob(data);
        const packed = new Uint8Array(text.length);
        for (let byte = 0; byte < text.length; byte++) packed[byte] = text.charCodeAt(byte);
        const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
        const buffer = await new Response(stream).arrayBuffer();
        const values = coding === "float32" ? new Float32Array(buffer) : new Uint8Array(buffer);
        const size = rows * columns;
        return Array.from({ length: heads }, (_, head) => {
          return new WeightMap(values.subarray(head * size, (head + 1) * size), rows, columns, coding === "float32");
        });
      }),
    );
  }
}

/* A window of a map as pixels, one per cell, or one per block where cells would be smaller than `limit` allows. */
function paint(map, span, limit, colours, top) {
  const height = Math.min(span[1] - span[0], limit[0]);
  const width = Math.min(span[3] - span[2], limit[1]);
  const weights = map.pooled(span, height, width);
  const image = new ImageData(width, height);
  weights.forEach((weight, cell) => {
    const step = shade(weight, top);
    for (let channel = 0; channel < 3; channel++) image.data[cell * 4 + channel] = colours[step * 3 + channel];
    image.data[cell * 4 + 3] = 255;
  });
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function shade(weight, top) {
  return Math.min(STEPS - 1, Math.max(0, Math.round((weight / (top || 1)) * (STEPS - 1))));
}

function spoken(map, weight) {
  return (map.exact ? "" : "≈ ") + (weight > 0 && weight < 0.001 ? weight.toExponential(1) : weight.toFixed(3));
}

const GAP = 8;
const LABEL = 110;
const SLANT = Math.PI / 3;

/* The large map: labels on both axes, a marked row and column, zoom by halves around the marked cell. */
class Heatmap {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.row = this.column = null;
  }

  show(map, rowLabels, columnLabels, look) {
    const same = this.map && this.map.rows === map.rows && this.map.columns === map.columns;
    Object.assign(this, { map, rowLabels, columnLabels, look });
    if (!same) this.span = [0, map.rows, 0, map.columns];
    this.layout();
  }

  /* The part of the map in view and the size of its cells, for the width that the page gives. */
  layout() {
    const { map, look } = this;
    const [top, bottom, left, right] = this.span;
    this.context.font = `600 12.5px ${look.font}`;
    const width = (label) => Math.min(LABEL, this.context.measureText((label.space ? "▁" : "") + label.text).width);
    const widest = (labels) => Math.ceil(labels.reduce((most, label) => Math.max(most, width(label)), 10));
    const [rowWidth, columnWidth] = [widest(this.rowLabels), widest(this.columnLabels)];
    const pitch = (spare) => {
      const room = look.width - rowWidth - GAP - spare - 2;
      return Math.min(38, room / (right - left), look.height / (bottom - top));
    };
    this.slanted = columnWidth > pitch(0) - 4;
    this.pitch = pitch(this.slanted ? columnWidth * Math.cos(SLANT) : 0);
    this.left = rowWidth + GAP;
    this.top = (this.slanted ? columnWidth * Math.sin(SLANT) + 8 : 16) + GAP;
    this.zoomable = look.width - this.left < map.columns * 12 || look.height < map.rows * 12;
    const [wide, high] = [(right - left) * this.pitch, (bottom - top) * this.pitch];
    this.resize(this.canvas, look.width, this.top + high + 2);
    this.base = document.createElement("canvas");
    const context = this.resize(this.base, look.width, this.top + high + 2);
    context.imageSmoothingEnabled = false;
    const limit = [high, wide].map((size) => Math.max(1, Math.round(size * devicePixelRatio)));
    context.drawImage(paint(map, this.span, limit, look.colours, look.top), this.left, this.top, wide, high);
    if (this.pitch >= 8) this.grid(context, wide, high);
    if (this.pitch >= 30) this.numbers(context);
    context.strokeStyle = look.line;
    context.strokeRect(this.left - 0.5, this.top - 0.5, wide + 1, high + 1);
    this.draw();
  }

  resize(canvas, width, height) {
    canvas.width = Math.round(width * devicePixelRatio);
    canvas.height = Math.round(height * devicePixelRatio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
    const context = canvas.getContext("2d");
    context.scale(devicePixelRatio, devicePixelRatio);
    return context;
  }

  grid(context, wide, high) {
    context.fillStyle = this.look.paper;
    for (let x = this.pitch; x < wide - 1; x += this.pitch) context.fillRect(this.left + x - 0.5, this.top, 1, high);
    for (let y = this.pitch; y < high - 1; y += this.pitch) context.fillRect(this.left, this.top + y - 0.5, wide, 1);
  }

  numbers(context) {
    const [top, bottom, left, right] = this.span;
    context.font = `10.5px ${this.look.font}`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let row = top; row < bottom; row++) {
      for (let column = left; column < right; column++) {
        const weight = this.map.at(row, column);
        if (weight < 0.05) continue;
        context.fillStyle = this.look.contrast(shade(weight, this.look.top));
        const [x, y] = this.corner(row, column);
        const text = weight >= 0.995 ? "1.0" : weight.toFixed(2).slice(1);
        context.fillText(text, x + this.pitch / 2, y + this.pitch / 2);
      }
    }
  }

  corner(row, column) {
    return [this.left + (column - this.span[2]) * this.pitch, this.top + (row - this.span[0]) * this.pitch];
  }

  draw() {
    const { context, canvas, look, pitch } = this;
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(this.base, 0, 0, parseFloat(canvas.style.width), parseFloat(canvas.style.height));
    this.labels();
    const [top, bottom, left, right] = this.span;
    context.strokeStyle = look.accent;
    context.lineWidth = 1.5;
    const size = Math.max(pitch, 2);
    const inRow = this.row !== null && this.row >= top && this.row < bottom;
    const inColumn = this.column !== null && this.column >= left && this.column < right;
    const [x, y] = this.corner(this.row, this.column);
    if (inRow) context.strokeRect(this.left, y, (right - left) * pitch, size);
    if (inColumn) context.strokeRect(x, this.top, size, (bottom - top) * pitch);
    context.lineWidth = 1;
  }

  /* Every label that has room, and always those of the marked row and column. */
  labels() {
    const [top, bottom, left, right] = this.span;
    const skipped = (index, from, marked, least) => {
      const every = Math.ceil(least / this.pitch);
      const near = marked !== null && Math.abs(index - marked) * this.pitch < 16;
      return index !== marked && ((index - from) % every > 0 || (every > 1 && near));
    };
    for (let row = top; row < bottom; row++) {
      if (skipped(row, top, this.row, 10)) continue;
      const [, y] = this.corner(row, left);
      this.label(this.rowLabels[row], this.left - GAP, y + this.pitch / 2, "right", 0, row === this.row);
    }
    for (let column = left; column < right; column++) {
      if (skipped(column, left, this.column, this.slanted ? 13 : 10)) continue;
      const [x] = this.corner(top, column);
      const middle = x + this.pitch / 2;
      const angle = this.slanted ? -SLANT : 0;
      const align = this.slanted ? "left" : "center";
      this.label(this.columnLabels[column], middle, this.top - GAP, align, angle, column === this.column);
    }
  }

  label({ text, kind, space }, x, y, align, angle, marked) {
    const { context, look } = this;
    context.save();
    context.translate(x, y);
    context.rotate(angle);
    context.direction = "ltr";
    context.textBaseline = "middle";
    const size = Math.max(9.5, Math.min(12.5, this.pitch * 0.85));
    context.font = `${marked ? "600 " : ""}${size}px ${kind === "byte" ? look.mono : look.font}`;
    let shown = text;
    while (shown.length > 1 && context.measureText(shown + "…").width > LABEL) shown = [...shown].slice(0, -1).join("");
    if (shown !== text) shown += "…";
    const mark = space ? context.measureText("▁").width * 0.75 : 0;
    const wide = context.measureText(shown).width + mark;
    const start = align === "right" ? -wide : align === "center" ? -wide / 2 : 0;
    const rightToLeft = /\p{Script=Arabic}|\p{Script=Hebrew}/u.test(text);
    context.textAlign = "left";
    if (space) {
      context.fillStyle = look.faint;
      context.fillRect(rightToLeft ? start + wide - mark : start, size * 0.42, mark * 0.8, 1.5);
    }
    context.fillStyle = marked ? look.accent : kind === "piece" ? look.ink : look.muted;
    context.fillText(shown, rightToLeft ? start : start + mark, 0);
    context.restore();
  }

  /* The cell under a pointer; one index is null over the other axis' labels; nothing outside. */
  cell(event) {
    const box = this.canvas.getBoundingClientRect();
    const [top, bottom, left, right] = this.span;
    const row = top + Math.floor((event.clientY - box.top - this.top) / this.pitch);
    const column = left + Math.floor((event.clientX - box.left - this.left) / this.pitch);
    const inRow = row >= top && row < bottom;
    const inColumn = column >= left && column < right;
    if (inRow && inColumn) return { row, column };
    if (inRow && column < left) return { row, column: null };
    if (inColumn && row < top && !this.slanted) return { row: null, column };
    return null;
  }

  mark(row, column) {
    const [top, bottom, left, right] = this.span;
    this.row = row;
    this.column = column;
    const outside = (index, from, to) => index !== null && (index < from || index >= to);
    if (outside(row, top, bottom) || outside(column, left, right)) this.move(bottom - top, right - left);
    else this.draw();
  }

  zoom(factor) {
    const [top, bottom, left, right] = this.span;
    const scaled = (size, all) => Math.max(Math.min(8, all), Math.min(all, Math.round(size * factor)));
    this.move(scaled(bottom - top, this.map.rows), scaled(right - left, this.map.columns));
  }

  /* A window of this size around the marked cell, or around the middle of what is in view. */
  move(height, width) {
    const place = (marked, from, to, size, all) => {
      const centre = marked === null ? (from + to) / 2 : marked + 0.5;
      const start = Math.max(0, Math.min(all - size, Math.round(centre - size / 2)));
      return [start, start + size];
    };
    const [top, bottom, left, right] = this.span;
    this.span = [
      ...place(this.row, top, bottom, height, this.map.rows),
      ...place(this.column, left, right, width, this.map.columns),
    ];
    this.layout();
  }
}
