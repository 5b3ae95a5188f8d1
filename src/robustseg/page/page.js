"use strict";
// Sorting, the evidence behind a number, filtering claims, the gallery. Without it, all but the
// gallery can still be read.

// Tables: choosing the head of a column sorts the lines of each group by it.

function leafHeads(table) {
  const rows = [...table.tHead.rows];
  const leaves = [...rows[0].cells].filter((cell) => cell.rowSpan === rows.length && rows.length > 1);
  let column = 0;
  const heads = leaves.map((cell) => [cell, column++]);
  for (const cell of rows.at(-1).cells) {
    if (cell.tagName === "TH" && cell.colSpan === 1) heads.push([cell, column]);
    column += cell.colSpan;
  }
  return heads;
}

function sortKey(text) {
  const number = parseFloat(text.replace(/^[≤≥] */, "").replace("−", "-").replaceAll(",", ""));
  return Number.isNaN(number) ? text : number;
}

function missing(key) {
  return key === "" || key === "–";
}

function compare(one, other) {
  if (missing(one) || missing(other)) return missing(one) - missing(other);
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), "en", { numeric: true });
}

function blocksOf(body) {
  // A measured line keeps the lines "paper" and "difference" that stand below it.
  const blocks = [];
  for (const row of body.rows) {
    if (row.classList.contains("group")) continue;
    if (row.classList.contains("beside")) blocks.at(-1).push(row);
    else blocks.push([row]);
  }
  return blocks;
}

function sortTable(table, head, column) {
  const next = { none: "ascending", ascending: "descending", descending: null };
  const wanted = next[head.getAttribute("aria-sort") ?? "none"];
  for (const cell of table.tHead.querySelectorAll("[aria-sort]")) cell.removeAttribute("aria-sort");
  if (wanted) head.setAttribute("aria-sort", wanted);
  for (const body of table.tBodies) {
    const blocks = blocksOf(body);
    blocks.forEach((block, index) => (block[0].dataset.order ??= index));
    const key = (block) => sortKey(block[0].cells[column].textContent.trim());
    blocks.sort((one, other) => {
      if (!wanted) return one[0].dataset.order - other[0].dataset.order;
      const up = compare(key(one), key(other));
      const last = missing(key(one)) || missing(key(other));
      return wanted === "ascending" || last ? up : -up;
    });
    for (const block of blocks) body.append(...block);
  }
}

for (const table of document.querySelectorAll("main table")) {
  for (const [head, column] of leafHeads(table)) {
    const button = document.createElement("button");
    button.className = "sort";
    button.append(...head.childNodes);
    button.title = "Sort by this column";
    head.append(button);
    button.addEventListener("click", () => sortTable(table, head, column));
  }
}

// The evidence behind a number: on hover, on focus; arrow keys go from number to number.

const tip = document.getElementById("tip");
let explained = null;

function showTip(cell) {
  explained = cell;
  tip.textContent = cell.dataset.note;
  tip.hidden = false;
  cell.setAttribute("aria-describedby", "tip");
  const at = cell.getBoundingClientRect();
  if (at.bottom < 0 || at.top > innerHeight) tip.hidden = true; // scrolled away
  const below = at.bottom + 6 + tip.offsetHeight < innerHeight;
  tip.style.top = `${Math.max(4, below ? at.bottom + 6 : at.top - 6 - tip.offsetHeight)}px`;
  tip.style.left = `${Math.max(4, Math.min(at.left, innerWidth - tip.offsetWidth - 8))}px`;
}

function hideTip() {
  tip.hidden = true;
  explained?.removeAttribute("aria-describedby");
  explained = null;
}

function neighbour(cell, key) {
  const row = cell.parentElement;
  const rows = [...row.closest("table").querySelectorAll("tbody tr")];
  const [down, right] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[key];
  let [r, c] = [rows.indexOf(row) + down, cell.cellIndex + right];
  while (rows[r] && !rows[r].cells[c]?.dataset.note) {
    r += down;
    c += right;
    if (c < 0 || c > 200) return null;
  }
  return rows[r]?.cells[c] ?? null;
}

for (const table of document.querySelectorAll("main table")) {
  const cells = [...table.querySelectorAll("td[title]")];
  cells.forEach((cell, index) => {
    cell.dataset.note = cell.title;
    cell.removeAttribute("title");
    cell.tabIndex = index ? -1 : 0;
    cell.addEventListener("mouseenter", () => showTip(cell));
    cell.addEventListener("mouseleave", hideTip);
    cell.addEventListener("blur", hideTip);
    cell.addEventListener("focus", () => {
      for (const other of cells) other.tabIndex = other === cell ? 0 : -1;
      showTip(cell);
    });
    cell.addEventListener("keydown", (event) => {
      if (!event.key.startsWith("Arrow")) return;
      event.preventDefault();
      neighbour(cell, event.key)?.focus();
    });
  });
}
addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
addEventListener("scroll", () => explained && showTip(explained), { passive: true, capture: true });

// Claims: choose verdicts, search.

for (const block of document.querySelectorAll("[data-claims]")) {
  const buttons = [...block.querySelectorAll("button.choice")];
  const search = block.querySelector("input[type=search]");
  const shown = block.querySelector("[role=status]");
  const claims = [...block.querySelectorAll(".claims > li")];
  const filter = () => {
    const verdict = buttons.find((button) => button.getAttribute("aria-pressed") === "true").value;
    const words = search.value.toLowerCase();
    for (const claim of claims) {
      const named = claim.textContent.toLowerCase().includes(words);
      claim.hidden = !(named && (verdict === "all" || claim.dataset.verdict === verdict));
    }
    shown.textContent = `${claims.filter((claim) => !claim.hidden).length} of ${claims.length} shown`;
  };
  for (const button of buttons) {
    button.addEventListener("click", () => {
      for (const other of buttons) other.setAttribute("aria-pressed", other === button);
      filter();
    });
  }
  search.addEventListener("input", filter);
  const reveal = (hash) => {
    const claim = claims.find((one) => `#${one.id}` === hash);
    if (!claim?.hidden) return;
    search.value = "";
    buttons.find((button) => button.value === "all").click();
    claim.scrollIntoView();
  };
  // A link that is followed twice changes no hash; the way back is no click.
  addEventListener("click", (event) => reveal(event.target.closest("a")?.hash));
  addEventListener("hashchange", () => reveal(location.hash));
  block.querySelector(".controls").hidden = false;
}

// The gallery.

function fill(select, names) {
  select.replaceChildren(...names.map((name, index) => new Option(name, index)));
}

function drawCurve(svg, eps, accuracy, chosen) {
  const x = (index) => 44 + (246 * eps[index]) / (eps.at(-1) || 1);
  const y = (share) => 72 - 0.62 * share;
  const line = eps.map((_, index) => `${x(index).toFixed(1)},${y(accuracy[index]).toFixed(1)}`);
  const text = (at, height, said, anchor) =>
    `<text x="${at}" y="${height}" text-anchor="${anchor}" font-size="11" fill="currentColor">${said}</text>`;
  svg.innerHTML =
    `<path d="M44 10V72H292" fill="none" stroke="var(--soft)"/>` +
    text(40, 14, "100 %", "end") + text(40, 74, "0", "end") +
    text(44, 86, "ε = 0", "start") + text(290, 86, `${eps.at(-1)}/255`, "end") +
    `<polyline points="${line.join(" ")}" fill="none" stroke="var(--link)" stroke-width="2"/>` +
    eps.map((_, index) =>
      `<circle cx="${x(index)}" cy="${y(accuracy[index])}" r="${index === chosen ? 6 : 2.5}" fill="var(--link)"/>`).join("");
  svg.setAttribute("aria-label", "Accuracy on this image by radius: " +
    eps.map((one, index) => `${one}/255 ${accuracy[index].toFixed(1)} %`).join(", "));
}

function startGallery(data) {
  const part = (name) => document.getElementById(`gallery-${name}`);
  const [modelBox, imageBox, slider] = [part("model"), part("image"), part("eps")];
  const show = (name, picture, alt) => {
    part(name).src = data.pictures[picture];
    part(name).alt = alt;
  };
  const draw = () => {
    const model = data.models[modelBox.value];
    const image = model.images[imageBox.value];
    const step = Number(slider.value);
    const radius = `${model.eps_255[step]}/255`;
    const accuracy = `${image.accuracy[step].toFixed(1)} %`;
    part("radius").textContent = radius;
    slider.setAttribute("aria-valuetext", `${radius}, accuracy ${accuracy}`);
    part("magnified").textContent = `Perturbation × ${model.amplification}; grey: none`;
    show("attacked", image.attacked[step], `Image ${image.id}, perturbed by at most ${radius}`);
    show("perturbation", image.perturbation[step], `Its perturbation, magnified ${model.amplification} times`);
    show("prediction", image.prediction[step], `What ${model.name} predicts: ${accuracy} of the pixels right`);
    show("truth", image.truth, `Labels of image ${image.id}`);
    part("accuracy").innerHTML = `Accuracy <strong>${accuracy}</strong> at ε = ${radius}`;
    drawCurve(part("curve"), model.eps_255, image.accuracy, step);
    const classes = image.present.map((index) => model.classes[index]);
    if (image.unlabelled) classes.push(["not labelled", data.unlabelled]);
    part("legend").replaceChildren(...classes.map(([name, colour]) => {
      const item = document.createElement("li");
      const swatch = document.createElement("span");
      swatch.style.background = colour;
      item.append(swatch, name);
      return item;
    }));
  };
  const chooseModel = () => {
    const before = imageBox.selectedIndex;
    fill(imageBox, data.models[modelBox.value].images.map((image) => image.id));
    imageBox.selectedIndex = Math.max(0, Math.min(before, imageBox.options.length - 1));
    slider.max = data.models[modelBox.value].eps_255.length - 1;
    draw();
  };
  fill(modelBox, data.models.map((model) => model.name));
  modelBox.addEventListener("change", chooseModel);
  imageBox.addEventListener("change", draw);
  slider.addEventListener("input", draw);
  chooseModel();
  slider.value = Math.ceil(slider.max / 2); // attacked, also where there is one radius
  draw();
  part("view").hidden = false;
}

const galleryData = document.getElementById("gallery-data");
if (galleryData) startGallery(JSON.parse(galleryData.textContent));
