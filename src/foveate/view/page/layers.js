// What lies over the slide. All positions are level-0 pixels; `frame` says where they are on the screen now.

const SVG = "http://www.w3.org/2000/svg";
const DOT = 10;
const BARS_UM = [0, 1, 2, 3, 4, 5].flatMap(power => [1, 2, 5].map(m => m * 10 ** power));

export function svg(name, attributes = {}, text = "") {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}

export class Layers {
  constructor(viewer, root) {
    this.viewer = viewer;
    this.root = root;
    this.on = { fixations: true, tissue: true, lesions: true };
    this.show(null);
    viewer.addHandler("update-viewport", () => this.draw());
    viewer.addHandler("open", () => this.draw());
  }

  show(told) {
    this.told = told;
    this.step = 0;
    for (const name of ["tissue", "lesions"]) {
      for (const path of this.root.querySelectorAll(`#${name} path`)) path.setAttribute("d", told?.[name]?.path ?? "");
    }
    this.draw();
  }

  go(step) {
    this.step = step;
    this.draw();
  }

  turn(name, on) {
    this.on[name] = on;
    this.draw();
  }

  // (x, y) of the slide's corner on the screen, and screen pixels per level-0 pixel; null while there is no slide
  frame() {
    const item = this.viewer.world.getItemAt(0);
    if (!item) return null;
    const place = (x, y) => this.viewer.viewport.pixelFromPoint(item.imageToViewportCoordinates(x, y, true), true);
    const { x: width } = item.getContentSize();
    const [corner, end] = [place(0, 0), place(width, 0)];
    return { x: corner.x, y: corner.y, scale: (end.x - corner.x) / width };
  }

  // the number of the fixation at a place on the screen, 0 where there is none
  at(x, y) {
    const frame = this.frame(), places = this.told?.fixations?.places ?? [];
    if (!frame || !this.on.fixations) return 0;
    const far = places.map(([px, py]) => Math.hypot(frame.x + px * frame.scale - x, frame.y + py * frame.scale - y));
    const least = Math.min(...far, Infinity);
    return least <= DOT + 3 ? far.lastIndexOf(least) + 1 : 0;
  }

  draw() {
    const frame = this.told && this.frame();
    this.root.toggleAttribute("hidden", !frame);
    if (!frame) return;
    for (const name of ["tissue", "lesions"]) {
      const group = this.root.querySelector(`#${name}`), layer = this.told[name];
      group.toggleAttribute("hidden", !layer || !this.on[name]);
      if (!layer) continue;
      const { x, y, scale } = frame;
      const matrix = [scale * layer.scale_x, 0, 0, scale * layer.scale_y, x + scale * layer.x, y + scale * layer.y];
      group.setAttribute("transform", `matrix(${matrix.join(" ")})`);
    }
    this.drawFixations(frame);
    this.drawBar(frame);
  }

  drawFixations(frame) {
    const group = this.root.querySelector("#fixations"), path = this.told.fixations;
    group.toggleAttribute("hidden", !path || !this.on.fixations);
    if (!path || !this.on.fixations) return;
    const points = path.places.map(([x, y]) => [frame.x + x * frame.scale, frame.y + y * frame.scale]);
    const parts = [];
    const line = (from, to, kind) => {
      const text = points.slice(from, to).map(point => point.map(v => v.toFixed(1)).join(",")).join(" ");
      parts.push(svg("polyline", { points: text, class: `${kind} under` }), svg("polyline", { points: text, class: kind }));
    };
    const reached = this.step || points.length; // the whole path before the first step
    line(reached - 1, points.length, "ahead");
    line(0, reached, "");
    const now = this.step - 1;
    if (now >= 0) {
      for (const kind of ["under", ""]) {
        for (const [width, height] of path.sides.map(side => side.map(v => v * frame.scale))) {
          const [x, y] = [points[now][0] - width / 2, points[now][1] - height / 2];
          parts.push(svg("rect", { x, y, width, height, class: kind }));
        }
      }
    }
    const order = points.map((_, k) => k).filter(k => k !== now).concat(now >= 0 ? [now] : []); // the present one on top
    for (const k of order) {
      const dot = svg("g", { class: k === now ? "now" : k >= reached ? "ahead" : "" });
      const [cx, cy] = points[k];
      // the present one would hide what it looked at: its number stands at the corner of its smallest square
      const lift = k === now ? Math.max(path.sides[0][0] * frame.scale / 2 + DOT, 0) : 0;
      dot.append(svg("circle", { cx: cx - lift, cy: cy - lift, r: DOT, fill: path.colours[k] }));
      dot.append(svg("text", { x: cx - lift, y: cy - lift, fill: path.inks[k] }, k + 1));
      parts.push(dot);
    }
    group.replaceChildren(...parts);
  }

  drawBar(frame) {
    const bar = document.querySelector("#bar span"), mpp = this.told.image.mpp[0];
    const um = BARS_UM.findLast(length => length / mpp * frame.scale <= 160) ?? 1;
    bar.textContent = um >= 1000 ? `${um / 1000} mm` : `${um} µm`;
    bar.style.width = `${um / mpp * frame.scale}px`;
  }
}
