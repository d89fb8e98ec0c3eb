"use strict";
// The gallery: cards are added while scrolling, and pictures are decoded only near the viewport,
// because ten thousand cards with pictures would make the browser slow.
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
  let selected = [];
  let cardCount = 0;

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

  const formatTime = (start, end) => {
    if (!start) return "unknown time";
    if (!end || end === start) return start;
    return start + " – " + (end.slice(0, 10) === start.slice(0, 10) ? end.slice(11) : end);
  };
  const fill = (element, name, text) => {
    const field = element.querySelector("." + name);
    if (text) field.textContent = text; else field.remove();
  };
  const createCard = (row) => {
    const element = card.cloneNode(true);
    const [name, scientificName] = data.species[row[SPECIES]];
    fill(element, "name", name);
    fill(element, "scientific-name", scientificName);
    fill(element, "review", row[REVIEW] ? "to review" : "");
    fill(element, "camera", data.cameras.length > 1 ? data.cameras[row[CAMERA]] : "");
    fill(element, "time", formatTime(row[START], row[END]));
    const files = row[MEDIA] > 1 ? `, ${row[MEDIA]} files` : "";
    const frames = row[FRAMES] > 1 ? `, ${row[FRAMES]} frames` : "";
    fill(element, "confidence", `confidence ${row[CONFIDENCE].toFixed(2)}${frames}${files}`);
    fill(element, "visit-note", row[NOTE]);
    fill(element, "path", row[PATH]);
    const frame = element.querySelector(".picture");
    if (row[PICTURE] === null) {
      frame.replaceChildren("no picture");
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
    const rows = selected.slice(cardCount, cardCount + STEP);
    gallery.append(...rows.map((row) => createCard(row)));
    cardCount += rows.length;
    more.hidden = cardCount >= selected.length;
    more.textContent = `show more (${selected.length - cardCount} left)`;
    // Observing again fires the callback if the end is still near.
    ends.unobserve(end);
    ends.observe(end);
  };
  const end = byId("end-of-gallery");
  const ends = new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting) && cardCount < selected.length) show();
  }, { rootMargin: "1200px" });
  const ORDERS = {
    review: (a, b) => b[REVIEW] - a[REVIEW] || byTime(a, b),
    first: (a, b) => byTime(a, b),
    last: (a, b) => byTime(b, a),
    confidence: (a, b) => b[CONFIDENCE] - a[CONFIDENCE],
  };
  // Ascending; visits without a time are last.
  const byTime = (a, b) => {
    const [first, second] = [a[START] ?? "~", b[START] ?? "~"];
    return first < second ? -1 : first > second ? 1 : 0;
  };
  const applyFilters = () => {
    const { species, camera, review, order } = filters.elements;
    selected = data.visits.filter((row) =>
      (species.value === "" || row[SPECIES] === +species.value) &&
      (camera.value === "" || row[CAMERA] === +camera.value) &&
      (!review.checked || row[REVIEW]));
    selected.sort(ORDERS[order.value]);
    near.disconnect();
    gallery.replaceChildren();
    cardCount = 0;
    byId("found").textContent =
      `${selected.length.toLocaleString("en")} visit${selected.length === 1 ? "" : "s"}`;
    show();
  };

  filters.addEventListener("input", applyFilters);
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
      applyFilters();
    });
  }
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
    for (const img of gallery.querySelectorAll("img")) load(img);
  });
  filters.hidden = false;
  applyFilters();
}
