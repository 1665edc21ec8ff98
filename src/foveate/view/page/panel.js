// The right-hand side: what was concluded of the slide, and what a fixation saw and changed.

import { svg } from "./layers.js";

const $ = id => document.getElementById(id);
const CHART = { left: 22, right: 278, top: 5, bottom: 80 };

export function element(name, text = "", kind = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

export const percent = value => `${Math.round(100 * value)} %`;
export const surest = values => values.indexOf(Math.max(...values));

export class Panel {
  constructor(classes) {
    this.classes = classes;
    this.bars = classes.map(name => {
      const [label, track, value] = [element("span", name), element("div", "", "track"), element("span", "", "value")];
      const fill = element("i", "", name);
      track.append(fill);
      $("bars").append(label, track, value);
      return { label, fill, value };
    });
  }

  show(row, told) {
    this.told = told;
    this.path = told.fixations;
    $("name").textContent = row.slide;
    $("call").replaceChildren();
    if (row.prediction) {
      $("call").append(element("span", row.prediction, `chip ${row.prediction}`), ` ${percent(Math.max(...row.probabilities))} sure`);
    } else {
      $("call").append(element("span", row.state === "unused" ? "not predicted" : row.state, `chip ${row.state}`));
    }
    const stage = row.incomplete ? "incomplete" : row.stage;
    const facts = {
      Label: row.label,
      Patient: row.patient,
      Stage: stage && row.true_stage ? `${stage} (true: ${row.true_stage})` : stage,
      Split: row.state === "unused" ? `${row.split}, learned from` : row.split,
      Fixations: this.path && this.path.places.length < this.path.budget
        ? `${this.path.places.length} of ${this.path.budget}, then enough was seen` : "",
      Pictures: this.path && row.fold !== this.path.fold
        ? `of fold ${this.path.fold}'s model; the call is the mean of all folds` : "",
    };
    $("facts").replaceChildren(...Object.entries(facts).flatMap(([name, value]) =>
      value ? [element("dt", name), element("dd", value)] : []));
    $("warnings").hidden = !told.warnings.length;
    $("warnings").querySelector("ul").replaceChildren(...told.warnings.map(text => element("li", text)));
    $("steps").hidden = !this.path;
    if (this.path) {
      $("slider").max = this.path.places.length;
      this.chart();
    }
  }

  go(step) {
    if (!this.path) return;
    const count = this.path.places.length, values = this.path.running[step - 1];
    $("step").textContent = `Fixation ${step} of ${count}`;
    $("slider").value = step;
    $("back").disabled = step === 0;
    $("on").disabled = step === count;
    this.bars.forEach(({ label, fill, value }, k) => {
      fill.style.width = values ? `${100 * values[k]}%` : 0;
      value.textContent = values ? percent(values[k]) : "";
      label.classList.toggle("first", Boolean(values) && k === surest(values));
    });
    const x = step ? this.x(step - 1) : CHART.left;
    for (const end of ["x1", "x2"]) this.now.setAttribute(end, x);
    this.now.toggleAttribute("hidden", !step);
    this.glimpses(step);
  }

  x(k) {
    const count = this.path.places.length;
    return CHART.left + (CHART.right - CHART.left) * (count > 1 ? k / (count - 1) : .5);
  }

  chart() {
    const y = value => CHART.bottom - (CHART.bottom - CHART.top) * value;
    const parts = [0, .5, 1].flatMap(value => [
      svg("line", { x1: CHART.left, x2: CHART.right, y1: y(value), y2: y(value) }),
      svg("text", { x: CHART.left - 5, y: y(value) + 3, "text-anchor": "end" }, value),
    ]);
    const count = this.path.places.length;
    for (const [k, anchor] of count > 1 ? [[0, "start"], [count - 1, "end"]] : [[0, "middle"]]) {
      parts.push(svg("text", { x: this.x(k), y: 92, "text-anchor": anchor }, `${k ? "" : "fixation "}${k + 1}`));
    }
    this.classes.forEach((name, c) => {
      const points = this.path.running.map((values, k) => `${this.x(k)},${y(values[c])}`).join(" ");
      const line = svg("polyline", { points });
      line.style.stroke = `var(--class-${name})`;
      parts.push(line);
    });
    this.now = svg("line", { class: "now", y1: CHART.top, y2: CHART.bottom });
    $("chart").replaceChildren(...parts, this.now);
  }

  glimpses(step) {
    const { scales_mpp: scales, glimpse_px: px, places_um: um, places, policy } = this.path;
    if (!step) {
      $("glimpses").replaceChildren();
      $("place").textContent = "Nothing yet: the right arrow key goes to the first.";
      return;
    }
    $("glimpses").replaceChildren(...scales.map((mpp, s) => {
      const figure = element("figure"), picture = element("img");
      picture.src = `glimpses/${encodeURIComponent(this.told.slide)}/${step - 1}/${s}`;
      picture.alt = `What fixation ${step} saw at ${mpp} µm per pixel`;
      figure.append(picture, element("figcaption", `${Math.round(px * mpp)} µm at ${mpp} µm/px`));
      return figure;
    }));
    const [[x, y], [x0, y0]] = [um[step - 1], places[step - 1]];
    $("place").textContent = `At ${(x / 1000).toFixed(2)}, ${(y / 1000).toFixed(2)} mm (level 0: ${Math.round(x0)}, ${Math.round(y0)} px), `
      + `chosen with probability ${policy[step - 1].toPrecision(2)}`;
  }
}
