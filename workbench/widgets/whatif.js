// Sliders and a curve. One question is under way at a time; what is turned meanwhile is asked once
// it is answered, and only as it then stands.

const LEFT = 46, RIGHT = 12, TOP = 10, BOTTOM = 34;
const CURVE = "#3399ee";
const PATIENCE = 1000; // milliseconds without an answer until it is said why

function element(kind, properties = {}, attributes = {}, ...inside) {
  const made = Object.assign(document.createElement(kind), properties);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...inside);
  return made;
}

function dial({ name, label, values, at, unit, shown }, turned) {
  // "d d" in a control would delete the cell in JupyterLab.
  const ours = { "data-lm-suppress-shortcuts": "true" };
  const figure = (value) => Number((value * shown).toPrecision(6));
  const slider = element("input", { type: "range", min: 0, max: values.length - 1, step: 1 },
    { ...ours, "aria-label": label, title: `${label}: move it to redraw the curve` });
  const typed = element("input", { type: "number", step: "any" },
    { ...ours, "aria-label": unit ? `${label}, ${unit}` : `${label}, typed`, title: `${label}: type it` });
  const problem = element("div", {}, { role: "alert" });
  let value = values[at];
  const slide = (place) => {
    slider.value = place;
    slider.setAttribute("aria-valuetext", `${figure(values[place])} ${unit}`.trim());
  };
  slide(at);
  typed.value = figure(value);
  slider.addEventListener("input", (event) => {
    value = values[slider.value];
    slide(slider.value);
    typed.value = figure(value);
    turned(event);
  });
  typed.addEventListener("input", (event) => {
    value = typed.value === "" ? "" : shown === 1 ? Number(typed.value) : typed.value / shown;
    if (value !== "") {
      const away = values.map((each) => Math.abs(each - value));
      slide(away.indexOf(Math.min(...away)));
    }
    turned(event);
  });
  return {
    name,
    row: element("div", { className: "wb-dial" }, {}, element("span", { textContent: label }),
      slider, typed, element("span", { textContent: unit }), problem),
    value: () => value,
    refuse: (words) => {
      if (problem.textContent !== words) problem.textContent = words;
      typed.setAttribute("aria-invalid", words ? "true" : "false");
    },
  };
}

function plot(canvas, now, before) {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const ink = getComputedStyle(canvas).color;
  const draw = canvas.getContext("2d");
  draw.scale(scale, scale);
  draw.font = "12px sans-serif";
  const all = [...now.ms, ...before.ms, ...(now.target ? [now.target] : [])];
  if (!all.length) return;
  const least = Math.log10(Math.min(...all)) - 0.05, most = Math.log10(Math.max(...all)) + 0.05;
  const x = (ms) => LEFT + (width - LEFT - RIGHT) * (Math.log10(ms) - least) / (most - least);
  const y = (share) => height - BOTTOM - (height - TOP - BOTTOM) * share;
  const line = (points, { colour = ink, thick = 1, dash = [], faint = 1 }) => {
    draw.beginPath();
    draw.globalAlpha = faint;
    draw.strokeStyle = colour;
    draw.lineWidth = thick;
    draw.setLineDash(dash);
    points.forEach(([px, py], n) => (n ? draw.lineTo(px, py) : draw.moveTo(px, py)));
    draw.stroke();
    draw.globalAlpha = 1;
  };
  draw.fillStyle = ink;
  draw.textAlign = "right";
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    line([[LEFT, y(share)], [width - RIGHT, y(share)]], { faint: 0.2 });
    draw.fillText(`${100 * share}%`, LEFT - 6, y(share) + 4);
  }
  draw.textAlign = "center";
  const ends = most - least;
  const heads = ends > 2 ? [1] : ends > 0.9 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9];
  for (let power = Math.floor(least); power <= most; power++) {
    for (const head of heads) {
      const ms = head * 10 ** power;
      if (Math.log10(ms) > least && Math.log10(ms) < most) {
        line([[x(ms), TOP], [x(ms), height - BOTTOM]], { faint: 0.2 });
        draw.fillText(`${Number(ms.toPrecision(2))}`, x(ms), height - BOTTOM + 15);
      }
    }
  }
  draw.fillText("Latency (ms, log scale)", (LEFT + width - RIGHT) / 2, height - 4);
  if (now.target) {
    line([[x(now.target), TOP], [x(now.target), y(0)]], { dash: [4, 4], thick: 1.5 });
    line([[LEFT, y(now.quantile)], [x(now.target), y(now.quantile)]], { dash: [4, 4], thick: 1.5 });
  }
  const curve = ({ ms, shares }) => ms.map((each, n) => [x(each), y(shares[n])]);
  if (before !== now) line(curve(before), { dash: [2, 3], thick: 2, faint: 0.6 });
  line(curve(now), { colour: CURVE, thick: 2.5 });
}

function render({ model, el }) {
  const sliders = element("div", { className: "wb-dials" });
  const canvas = element("canvas", {}, { role: "img", "aria-label": "Nothing simulated yet" });
  const legend = element("div", { className: "wb-legend" });
  const verdict = element("div", { className: "wb-verdict" }, { role: "status" });
  el.append(element("div", { className: "wb-whatif" }, {}, sliders, canvas, legend, verdict));

  let dials = [], now = null, before = null;
  let question = null, wanted = false, moved = 0, late = 0;

  const say = (words, wrong) => {
    if (verdict.textContent !== words) verdict.textContent = words;
    verdict.classList.toggle("wb-wrong", wrong);
  };
  const paint = () => {
    if (now && canvas.clientWidth) plot(canvas, now, before);
  };
  const ask = () => {
    wanted = Boolean(question);
    if (wanted) return;
    question = { number: `${Math.random()}`, moved };
    verdict.setAttribute("aria-busy", "true");
    const values = Object.fromEntries(dials.map(({ name, value }) => [name, value()]));
    model.send({ number: question.number, values });
    late = setTimeout(() => say("Waiting for the kernel: a cell may be running.", false), PATIENCE);
  };
  const turned = (event) => {
    moved = event.timeStamp;
    ask();
  };
  const show = (answer) => {
    for (const each of dials) each.refuse(each.name === answer.about ? answer.error : "");
    if (answer.error) {
      const beside = dials.some(({ name }) => name === answer.about);
      say(beside && now ? `As it was before: ${now.words}` : answer.error, !beside);
      return;
    }
    now = answer;
    before ??= answer;
    canvas.setAttribute("aria-label", `Share of requests answered within a latency. ${now.words}`);
    legend.textContent = before === now
      ? "Solid: simulated. Dashed: the target."
      : "Solid: simulated. Dotted: as it was at first. Dashed: the target.";
    say(now.words, now.missed);
    paint();
  };
  const receive = (answer) => {
    if (answer.number !== question?.number) return;
    clearTimeout(late);
    const answered = question;
    question = null;
    const last = !wanted;
    if (wanted) ask();
    requestAnimationFrame(() => {
      show(answer);
      if (!question) verdict.removeAttribute("aria-busy");
      if (!last || !answered.moved) return;
      // A task queued in a frame runs when the frame is painted.
      const after = new MessageChannel();
      after.port1.onmessage = () => {
        performance.clearMeasures("wb-what-if");
        performance.measure("wb-what-if", { start: answered.moved, end: performance.now() });
        after.port1.close();
      };
      after.port2.postMessage(0);
    });
  };
  const build = () => {
    clearTimeout(late);
    [now, before, question, wanted, moved] = [null, null, null, false, 0];
    verdict.removeAttribute("aria-busy");
    dials = model.get("dials").map((each) => dial(each, turned));
    sliders.replaceChildren(...dials.map(({ row }) => row));
    canvas.style.display = legend.style.display = dials.length ? "" : "none";
    if (dials.length) ask();
  };
  const note = () => {
    if (model.get("note")) say(model.get("note"), false);
  };

  model.on("msg:custom", receive);
  model.on("change:dials", build);
  model.on("change:note", note);
  const sized = new ResizeObserver(paint);
  sized.observe(canvas);
  const theme = new MutationObserver(() => requestAnimationFrame(paint));
  theme.observe(document.body, { attributeFilter: ["data-jp-theme-light", "data-jp-theme-name"] });
  build();
  note();
  return () => {
    clearTimeout(late);
    sized.disconnect();
    theme.disconnect();
    model.off("msg:custom", receive);
    model.off("change:dials", build);
    model.off("change:note", note);
  };
}

export default { render };
