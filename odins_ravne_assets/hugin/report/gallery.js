"use strict";
// The gallery: as many cards as have been scrolled to, and pictures for those near the window
// alone. Ten thousand of both would make a browser slow; their text in the page does not.
{
  const STEP = 60;
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("visits").textContent);
  const card = byId("card").content.firstElementChild;
  const gallery = byId("gallery-cards");
  const filters = byId("filters");
  const more = byId("more");
  const [SPECIES, CAMERA, START, END, CONFIDENCE, FRAMES, MEDIA, REVIEW, PATH, PICTURE, BOX, NOTE] =
    data.columns.keys();
  let chosen = [];
  let shown = 0;

  const pictures = new Map();
  const picture = (number) => {
    const chunk = Math.floor(number / data.chunk);
    if (!pictures.has(chunk)) {
      if (pictures.size > 20) pictures.delete(pictures.keys().next().value);
      pictures.set(chunk, byId("pictures-" + chunk).textContent.split("\n"));
    }
    return "data:image/webp;base64," + pictures.get(chunk)[number % data.chunk];
  };
  const load = (img) => { if (!img.hasAttribute("src")) img.src = picture(+img.dataset.picture); };
  const near = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) load(target); else target.removeAttribute("src");
    }
  }, { rootMargin: "800px" });

  const when = (start, end) => {
    if (!start) return "time not known";
    if (!end || end === start) return start;
    return start + " – " + (end.slice(0, 10) === start.slice(0, 10) ? end.slice(11) : end);
  };
  const fill = (element, name, text) => {
    const field = element.querySelector("." + name);
    if (text) field.textContent = text; else field.remove();
  };
  const cardOf = (row) => {
    const element = card.cloneNode(true);
    const [name, latin] = data.species[row[SPECIES]];
    fill(element, "name", name);
    fill(element, "latin", latin);
    fill(element, "review", row[REVIEW] ? "to review" : "");
    fill(element, "where", data.cameras.length > 1 ? data.cameras[row[CAMERA]] : "");
    fill(element, "when", when(row[START], row[END]));
    const files = row[MEDIA] > 1 ? `, ${row[MEDIA]} files` : "";
    const frames = row[FRAMES] > 1 ? `, ${row[FRAMES]} frames` : "";
    fill(element, "numbers", `confidence ${row[CONFIDENCE].toFixed(2)}${frames}${files}`);
    fill(element, "note-of-visit", row[NOTE]);
    fill(element, "path", row[PATH]);
    const frame = element.querySelector(".picture");
    if (row[PICTURE] === null) {
      frame.replaceChildren("no picture here");
      return element;
    }
    const img = frame.querySelector("img");
    img.alt = name;
    img.dataset.picture = row[PICTURE];
    const [x, y, w, h] = row[BOX];
    Object.assign(frame.querySelector("i").style, {
      left: 100 * x + "%", top: 100 * y + "%", width: 100 * w + "%", height: 100 * h + "%",
    });
    near.observe(img);
    return element;
  };

  const show = () => {
    const next = chosen.slice(shown, shown + STEP);
    gallery.append(...next.map((row) => cardOf(row)));
    shown += next.length;
    more.hidden = shown >= chosen.length;
    more.textContent = `show more (${chosen.length - shown} left)`;
    // Watched anew: it tells again if it is still near.
    ends.unobserve(end);
    ends.observe(end);
  };
  const end = byId("end-of-gallery");
  const ends = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting) && shown < chosen.length) show();
  }, { rootMargin: "1200px" });
  const ORDERS = {
    review: (a, b) => b[REVIEW] - a[REVIEW] || later(a, b),
    first: (a, b) => later(a, b),
    last: (a, b) => later(b, a),
    sure: (a, b) => b[CONFIDENCE] - a[CONFIDENCE],
  };
  // Without a time comes last.
  const later = (a, b) => {
    const [first, second] = [a[START] ?? "~", b[START] ?? "~"];
    return first < second ? -1 : first > second ? 1 : 0;
  };
  const choose = () => {
    const { species, camera, review, order } = filters.elements;
    chosen = data.visits.filter((row) =>
      (species.value === "" || row[SPECIES] === +species.value) &&
      (camera.value === "" || row[CAMERA] === +camera.value) &&
      (!review.checked || row[REVIEW]));
    chosen.sort(ORDERS[order.value]);
    near.disconnect();
    gallery.replaceChildren();
    shown = 0;
    byId("found").textContent =
      `${chosen.length.toLocaleString("en")} visit${chosen.length === 1 ? "" : "s"}`;
    show();
  };

  filters.addEventListener("input", choose);
  filters.addEventListener("submit", (event) => event.preventDefault());
  byId("boxes").addEventListener("input", (event) =>
    gallery.classList.toggle("without-boxes", !event.target.checked));
  more.addEventListener("click", show);
  for (const link of document.querySelectorAll("a[data-species], a[data-camera], a[data-review]")) {
    link.addEventListener("click", () => {
      filters.reset();
      if (link.dataset.species) filters.elements.species.value = link.dataset.species;
      if (link.dataset.camera) filters.elements.camera.value = link.dataset.camera;
      filters.elements.review.checked = "review" in link.dataset;
      choose();
    });
  }
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
    for (const img of gallery.querySelectorAll("img")) load(img);
  });
  filters.hidden = false;
  choose();
}
