// The viewer: which slide and which fixation are shown, the list, the keys. The address has both: #slide/fixation.

import { Layers } from "./layers.js";
import { Panel, element, percent } from "./panel.js";

const $ = id => document.getElementById(id);
const still = matchMedia("(prefers-reduced-motion: reduce)");
// how much the view holds when a step first zooms in: so many of a glimpse's smallest squares, or of its largest
const SMALLEST = 16, LARGEST = 2;
const PLAY_MS = 1100;

const viewer = OpenSeadragon({
  element: $("slide"),
  drawer: "canvas",
  showNavigationControl: false,
  showNavigator: true,
  navigatorPosition: "BOTTOM_RIGHT",
  navigatorAutoFade: false,
  navigatorBackground: "#fff",
  navigatorOpacity: 1,
  navigatorBorderColor: "#8793a1",
  keyboardNavEnabled: false, // the arrow keys step through the fixations
  gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true },
  maxZoomPixelRatio: 6,
  visibilityRatio: .3,
  animationTime: still.matches ? 0 : .7,
  imageLoaderLimit: 4,
  maxImageCacheCount: 500,
});
viewer.canvas.append($("layers")); // below the small map
const layers = new Layers(viewer, $("layers"));
let panel, rows, buttons;
let told = null, step = 0, zoomed = false, playing = 0, asked = 0;

async function ask(path) {
  const reply = await fetch(path);
  if (!reply.ok) throw new Error((await reply.text()).trim() || `the server said ${reply.status}`);
  return reply.json();
}

function complain(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

function list() {
  const sections = new Map();
  buttons = new Map();
  for (const row of rows) {
    if (!sections.has(row.patient)) {
      const section = element("section"), head = element("h2", row.patient);
      const stage = row.incomplete ? "incomplete" : row.stage;
      head.append(element("span", stage && row.true_stage && stage !== row.true_stage ? `${stage}, true ${row.true_stage}` : stage));
      section.append(head);
      sections.set(row.patient, section);
    }
    const button = element("button");
    button.type = "button";
    const short = row.slide.startsWith(`${row.patient}_`) ? row.slide.slice(row.patient.length + 1) : row.slide;
    const call = row.prediction || { unused: "training" }[row.state] || row.state;
    button.append(element("span", short), element("span", call, `chip ${row.prediction || row.state}`));
    button.append(element("span", row.prediction ? percent(Math.max(...row.probabilities)) : ""));
    button.title = [row.slide, row.label && `label: ${row.label}`, row.reason].filter(Boolean).join("\n");
    button.addEventListener("click", () => { location.hash = `${encodeURIComponent(row.slide)}/0`; });
    sections.get(row.patient).append(button);
    buttons.set(row.slide, button);
  }
  $("list").replaceChildren(...sections.values());
}

function find() {
  const words = $("find").value.trim().toLowerCase().split(/\s+/);
  let shown = 0;
  for (const row of rows) {
    const text = [row.slide, row.patient, row.prediction, row.label, row.state, row.stage, row.split].join(" ").toLowerCase();
    const fits = words.every(word => text.includes(word));
    buttons.get(row.slide).hidden = !fits;
    shown += fits;
  }
  for (const section of $("list").children) section.hidden = !section.querySelector("button:not([hidden])");
  $("count").textContent = `${shown} of ${rows.length} slides`;
}

async function show(row, wanted) {
  const turn = ++asked;
  pause();
  for (const [slide, button] of buttons) button.toggleAttribute("aria-current", slide === row.slide);
  buttons.get(row.slide).scrollIntoView({ block: told ? "nearest" : "center" });
  document.title = `${row.slide} · foveate view`;
  let found;
  try {
    found = await ask(`slides/${encodeURIComponent(row.slide)}`);
  } catch (error) {
    found = { slide: row.slide, warnings: [], problem: { reason: error.message, remedy: "" } };
  }
  if (turn !== asked) return; // another slide was chosen meanwhile
  told = found;
  [step, zoomed] = [0, false];
  viewer.close();
  layers.show(told.image ? told : null);
  panel.show(row, told);
  const { reason, remedy } = told.problem ?? { reason: "" };
  complain(remedy ? `${reason} (${remedy})` : reason);
  $("bar").hidden = viewer.navigator.element.hidden = !told.image;
  for (const box of $("switches").querySelectorAll("input")) box.disabled = !(told[box.value]?.path || told[box.value]?.places);
  panel.go(0);
  if (!told.image) return;
  await new Promise(opened => {
    viewer.addOnceHandler("open", opened);
    viewer.open({
      ...told.image,
      getTileUrl: (level, x, y) => `tiles/${encodeURIComponent(row.slide)}/${level}/${x}/${y}`,
    });
  });
  if (turn !== asked) return;
  whole(true);
  if (wanted) go(wanted);
}

function whole(now = false) {
  zoomed = false;
  const item = viewer.world.getItemAt(0);
  if (item) viewer.viewport.fitBounds(item.imageToViewportRectangle(...told.image.scanned), now);
}

function go(wanted) {
  if (!told?.image || !told.fixations) return;
  const count = told.fixations.places.length;
  step = Math.min(Math.max(wanted, 0), count);
  layers.go(step);
  panel.go(step);
  history.replaceState(null, "", `#${encodeURIComponent(told.slide)}/${step}`);
  if (!step) {
    whole();
    return;
  }
  const item = viewer.world.getItemAt(0), [x, y] = told.fixations.places[step - 1];
  if (zoomed) {
    viewer.viewport.zoomTo(viewer.viewport.getZoom(), null, true); // one that still goes on would shift the middle
    viewer.viewport.panTo(item.imageToViewportCoordinates(x, y));
    return;
  }
  zoomed = true; // from now on steps keep the zoom that the user chose
  const { sides } = told.fixations;
  const [width, height] = [0, 1].map(axis => Math.min(SMALLEST * sides[0][axis], LARGEST * sides.at(-1)[axis]));
  viewer.viewport.fitBounds(item.imageToViewportRectangle(x - width / 2, y - height / 2, width, height));
}

function neighbour(by) {
  const shown = rows.filter(row => !buttons.get(row.slide).hidden);
  const k = shown.findIndex(row => row.slide === told?.slide);
  const row = shown[Math.min(Math.max(k + by, 0), shown.length - 1)];
  if (row && row.slide !== told?.slide) location.hash = `${encodeURIComponent(row.slide)}/0`;
}

function play() {
  if (playing || !told?.fixations) {
    pause();
    return;
  }
  const count = told.fixations.places.length;
  const next = () => {
    go(step + 1);
    if (step === count) pause();
  };
  playing = setInterval(next, PLAY_MS);
  $("play").textContent = "Pause";
  $("play").setAttribute("aria-pressed", "true");
  if (step === count) go(0);
  next();
}

function pause() {
  clearInterval(playing);
  playing = 0;
  $("play").textContent = "Play";
  $("play").setAttribute("aria-pressed", "false");
}

function turn(name) {
  const box = $("switches").querySelector(`[value=${name}]`);
  if (!box.disabled) box.click();
}

const KEYS = {
  ArrowRight: () => go(step + 1),
  ArrowLeft: () => go(step - 1),
  Home: () => go(0),
  End: () => go(Infinity),
  ArrowDown: () => neighbour(1),
  ArrowUp: () => neighbour(-1),
  " ": play,
  "+": () => viewer.viewport.zoomBy(1.6),
  "=": () => viewer.viewport.zoomBy(1.6),
  "-": () => viewer.viewport.zoomBy(1 / 1.6),
  0: () => whole(),
  f: () => turn("fixations"),
  t: () => turn("tissue"),
  a: () => turn("lesions"),
  "/": () => $("find").focus(),
  "?": () => $("help").showModal(),
};

document.addEventListener("keydown", event => {
  const typing = event.target.id === "find";
  if (typing && event.key === "Escape") event.target.blur();
  const pressing = event.target.matches("button, [type=checkbox]") && event.key === " ";
  if (typing || pressing || $("help").open || event.ctrlKey || event.metaKey || event.altKey) return;
  const action = KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  if (event.key !== " ") pause();
  action();
});
$("find").addEventListener("input", find);
$("switches").addEventListener("change", event => layers.turn(event.target.value, event.target.checked));
$("slider").addEventListener("input", event => { pause(); go(Number(event.target.value)); });
$("back").addEventListener("click", KEYS.ArrowLeft);
$("on").addEventListener("click", KEYS.ArrowRight);
$("play").addEventListener("click", play);
$("ask").addEventListener("click", KEYS["?"]);
viewer.addHandler("canvas-click", event => {
  const number = event.quick && layers.at(event.position.x, event.position.y);
  if (number) go(number);
});
viewer.addHandler("tile-load-failed", () => complain("A part of the slide cannot be read; the terminal says which."));
addEventListener("hashchange", follow);

function unquoted(text) {
  try {
    return decodeURIComponent(text);
  } catch { // an address that was cut off
    return text;
  }
}

function follow() {
  const [slide, fixation] = location.hash.slice(1).split("/").map(unquoted);
  const row = rows.find(each => each.slide === slide) ?? rows.find(each => each.prediction) ?? rows[0];
  const wanted = Math.trunc(Number(fixation)) || 0;
  if (row && row.slide !== told?.slide) show(row, wanted);
  else if (row) go(wanted);
}

try {
  const cohort = await ask("slides.json");
  rows = cohort.slides;
  panel = new Panel(cohort.classes);
  list();
  find();
  follow();
} catch (error) {
  complain(error.message);
}
