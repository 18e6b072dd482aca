"use strict";
(() => {
  const scene = JSON.parse(document.getElementById("scene").textContent);
  const canvas = document.getElementById("sphere");
  const told = document.getElementById("told");
  const pen = canvas.getContext("2d");
  const boxes = Object.fromEntries(
    [...document.querySelectorAll("[data-layer]")].map((box) => [box.dataset.layer, box]));
  const shown = (layer) => Boolean(boxes[layer] && boxes[layer].checked);
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const STEP = 0.07;

  const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const unit = (a) => { const r = Math.hypot(...a); return a.map((x) => x / r); };
  const times = (A, B) => A.map((row) => [0, 1, 2].map((k) => row[0] * B[0][k] + row[1] * B[1][k] + row[2] * B[2][k]));
  const arc = (a, b) => {
    const steps = 1 + Math.floor(Math.acos(Math.max(-1, Math.min(1, dot(a, b)))) / STEP);
    return Array.from({ length: steps }, (_, k) => unit(a.map((x, i) => x * (1 - k / steps) + b[i] * k / steps)));
  };
  const polygon = (corners) => ({
    path: corners.flatMap((a, k) => arc(a, corners[(k + 1) % corners.length])),
    sides: corners.map((a, k) => cross(a, corners[(k + 1) % corners.length])),
    level: 0,
    centre: unit(corners.reduce((sum, a) => sum.map((x, i) => x + a[i]), [0, 0, 0])),
  });
  const cap = (centre, radius) => {
    const least = centre.map(Math.abs).indexOf(Math.min(...centre.map(Math.abs)));
    const first = unit(cross(centre, [0, 1, 2].map((k) => (k === least ? 1 : 0))));
    const second = cross(centre, first);
    const path = Array.from({ length: 72 }, (_, k) => {
      const [c, s] = [Math.cos(k * Math.PI / 36), Math.sin(k * Math.PI / 36)];
      return centre.map((x, i) => Math.cos(radius) * x + Math.sin(radius) * (c * first[i] + s * second[i]));
    });
    return { path, sides: [centre], level: Math.cos(radius), centre };
  };

  const points = scene.points;
  const cells = scene.cells.map((cell) => polygon(cell.map((k) => scene.corners[k])));
  const facets = scene.facets.map((facet) => polygon(facet.map((k) => points[k])));
  const caps = scene.contacts.length ? points.map((p) => cap(p, scene.angle / 2)) : [];
  const joined = (pairs) => pairs.map(([a, b]) => [...arc(points[a], points[b]), points[b]]);
  const contacts = joined(scene.contacts);

  let turn = scene.view.map((row) => [...row]);
  let zoom = 1;
  let size = [1, 1];
  let scale = 1;
  let pixel = 1;
  let queued = false;
  let style = {};

  const seen = (p) => [dot(turn[0], p), dot(turn[1], p), dot(turn[2], p)];
  const place = (q) => [size[0] / 2 + scale * q[0], size[1] / 2 - scale * q[1]];
  const readStyle = () => {
    const computed = getComputedStyle(document.documentElement);
    for (const name of ["globe", "line", "dot", "halo", "contact", "cap", "facet", "hole", "shade", "faint",
      "c3", "c4", "c5", "c6", "c7", "c8"]) style[name] = computed.getPropertyValue(`--${name}`).trim();
  };

  const atRim = (a, b) => {
    const sign = Math.sign(b[2] - a[2]);
    return unit([sign * (a[0] * b[2] - b[0] * a[2]), sign * (a[1] * b[2] - b[1] * a[2]), 0]);
  };
  /* The part of a closed path with front * z >= 0, and whether that is all of it. */
  const visible = (path, front) => {
    const out = [];
    let start = -1;
    path.forEach((a, k) => {
      const b = path[(k + 1) % path.length];
      const [za, zb] = [front * a[2], front * b[2]];
      if (za >= 0) out.push(a);
      if ((za < 0) !== (zb < 0)) {
        if (zb >= 0) start = out.length;
        out.push(atRim(a, b));
      }
    });
    if (start < 0) return { run: out, whole: true };
    return { run: [...out.slice(start), ...out.slice(0, start)], whole: false };
  };
  /* Close a run along the rim, on the side that lies inside the shape. */
  const alongRim = (from, to, shape) => {
    const first = Math.atan2(from[1], from[0]);
    const right = ((Math.atan2(to[1], to[0]) - first) % (2 * Math.PI) + 2 * Math.PI) % (2 * Math.PI);
    const sides = shape.sides.map(seen);
    const depth = (way) => {
      const q = [Math.cos(first + way / 2), Math.sin(first + way / 2), 0];
      return Math.min(...sides.map((side) => dot(side, q) - shape.level));
    };
    const way = depth(right) >= depth(right - 2 * Math.PI) ? right : right - 2 * Math.PI;
    const steps = 1 + Math.floor(Math.abs(way) / STEP);
    return Array.from({ length: steps + 1 }, (_, k) => {
      const angle = first + way * k / steps;
      return [Math.cos(angle), Math.sin(angle), 0];
    });
  };
  const trace = (rows) => rows.forEach((q, k) => (k ? pen.lineTo(...place(q)) : pen.moveTo(...place(q))));
  const draw = (shape, front, fill, line, width) => {
    if (front * dot(turn[2], shape.centre) < -0.98 && shape.path.length < 40) return;
    const { run, whole } = visible(shape.path.map(seen), front);
    if (run.length < 2) return;
    if (fill) {
      pen.beginPath();
      trace(whole ? run : [...run, ...alongRim(run[run.length - 1], run[0], shape)]);
      pen.fillStyle = fill;
      pen.fill();
    }
    if (line) {
      pen.beginPath();
      trace(whole ? [...run, run[0]] : run);
      pen.lineWidth = width;
      pen.strokeStyle = line;
      pen.stroke();
    }
  };
  const stroke = (paths, front, color, width) => {
    pen.beginPath();
    for (const path of paths) {
      const rows = path.map(seen);
      let part = [];
      rows.forEach((q, k) => {
        if (front * q[2] >= 0) part.push(q);
        const next = rows[k + 1];
        if (next && (front * q[2] < 0) !== (front * next[2] < 0)) {
          part.push(atRim(q, next));
          if (front * next[2] < 0) { trace(part); part = []; }
        }
      });
      trace(part);
    }
    pen.lineWidth = width;
    pen.strokeStyle = color;
    pen.stroke();
  };
  const marks = (rows, front, radius, mark) => {
    for (const p of rows) {
      const q = seen(p);
      if (front * q[2] < 0) continue;
      const [x, y] = place(q);
      pen.beginPath();
      if (mark === "cross") {
        for (const [u, v] of [[1, 1], [1, -1]]) { pen.moveTo(x - u * radius, y - v * radius); pen.lineTo(x + u * radius, y + v * radius); }
        pen.strokeStyle = style.halo; pen.lineWidth = 0.9 * radius + 2 * pixel; pen.stroke();
        pen.strokeStyle = style.hole; pen.lineWidth = 0.7 * radius; pen.stroke();
      } else {
        pen.arc(x, y, radius, 0, 2 * Math.PI);
        pen.fillStyle = style.dot; pen.fill();
        if (radius > 2.5 * pixel) { pen.strokeStyle = style.halo; pen.lineWidth = pixel; pen.stroke(); }
      }
    }
  };
  const disc = (fill) => {
    pen.beginPath();
    pen.arc(size[0] / 2, size[1] / 2, scale, 0, 2 * Math.PI);
    pen.fillStyle = fill;
    pen.fill();
  };
  const shading = () => {
    const [x, y] = [size[0] / 2, size[1] / 2];
    const glow = pen.createRadialGradient(x - 0.42 * scale, y - 0.5 * scale, 0.1 * scale, x - 0.1 * scale, y - 0.12 * scale, 1.25 * scale);
    glow.addColorStop(0, "rgba(255,255,255,0.16)");
    glow.addColorStop(0.3, "rgba(255,255,255,0)");
    glow.addColorStop(0.3, "rgba(0,0,0,0)");
    glow.addColorStop(1, `rgba(0,0,0,${style.shade})`);
    disc(glow);
  };
  const layers = (front, width) => {
    if (shown("cells")) cells.forEach((cell, k) => draw(cell, front, style[`c${Math.max(3, Math.min(8, scene.cells[k].length))}`], style.line, width));
    if (shown("caps")) caps.forEach((one) => draw(one, front, style.cap, style.line, width));
    if (shown("facets")) {
      if (scene.beyond) {
        pen.globalAlpha *= 0.85;
        disc(style.facet);
        pen.globalAlpha /= 0.85;
      }
      facets.forEach((facet, k) => {
        if (scene.beyond) draw(facet, front, style.globe, null, 0);
        pen.globalAlpha *= 0.15 + 0.7 * scene.depths[k];
        draw(facet, front, style.facet, null, 0);
        pen.globalAlpha /= 0.15 + 0.7 * scene.depths[k];
        draw(facet, front, null, style.contact, 1.2 * width);
      });
    }
    if (shown("contacts")) stroke(contacts, front, style.contact, 2.4 * width);
  };
  const paint = () => {
    queued = false;
    const width = pixel * Math.max(0.6, Math.min(1.5, 12 / Math.sqrt(points.length))) * Math.sqrt(zoom);
    const radius = pixel * Math.max(1.4, Math.min(5.5, 46 / Math.sqrt(points.length))) * Math.sqrt(zoom);
    pen.clearRect(0, 0, ...size);
    pen.lineJoin = pen.lineCap = "round";
    if (shown("glass")) {
      pen.globalAlpha = 0.35;
      layers(-1, width);
      if (shown("points")) marks(points, -1, 0.8 * radius);
      pen.globalAlpha = 0.5;
    } else {
      disc(style.globe);
    }
    layers(1, width);
    pen.globalAlpha = 1;
    if (!shown("glass")) shading();
    if (shown("points")) marks(points, 1, radius);
    if (shown("holes")) marks(scene.holes, 1, 1.2 * radius, "cross");
    pen.beginPath();
    pen.arc(size[0] / 2, size[1] / 2, scale, 0, 2 * Math.PI);
    pen.lineWidth = 1.2 * pixel;
    pen.strokeStyle = style.faint;
    pen.stroke();
    if (shown("spin") && !calm.matches) { rotate(0.004, 0); }
  };
  const ask = () => { if (!queued) { queued = true; requestAnimationFrame(paint); } };
  const fit = () => {
    pixel = devicePixelRatio || 1;
    size = [canvas.clientWidth * pixel, canvas.clientHeight * pixel];
    [canvas.width, canvas.height] = size;
    scale = 0.46 * Math.min(...size) * zoom;
    ask();
  };
  const rotate = (x, y) => {
    const [a, b, c, d] = [Math.cos(x), Math.sin(x), Math.cos(y), Math.sin(y)];
    const moved = times([[1, 0, 0], [0, c, -d], [0, d, c]], times([[a, 0, b], [0, 1, 0], [-b, 0, a]], turn));
    moved[2] = unit(moved[2]);
    moved[0] = unit(cross(moved[1], moved[2]));
    moved[1] = cross(moved[2], moved[0]);
    turn = moved;
    ask();
  };
  const enlarge = (factor) => { zoom = Math.max(0.4, Math.min(12, zoom * factor)); fit(); };
  const reset = () => { turn = scene.view.map((row) => [...row]); zoom = 1; fit(); };

  const held = new Map();
  const spread = () => { const [a, b] = [...held.values()]; return Math.hypot(a[0] - b[0], a[1] - b[1]); };
  const tell = (event) => {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) * pixel, (event.clientY - box.top) * pixel];
    let [best, least] = [-1, (12 * pixel) ** 2];
    points.forEach((p, k) => {
      const q = seen(p);
      if (q[2] < 0) return;
      const [u, v] = place(q);
      const apart = (u - x) ** 2 + (v - y) ** 2;
      if (apart < least) [best, least] = [k, apart];
    });
    told.textContent = best < 0 ? "" :
      `point ${best}${scene.cells.length ? `: ${scene.cells[best].length} neighbours` : ""}, at (${points[best].map((c) => c.toFixed(6).replace("-", "−")).join(", ")})`;
  };
  canvas.addEventListener("pointerdown", (event) => {
    try { canvas.setPointerCapture(event.pointerId); } catch { /* an event made by a script has no pointer */ }
    held.set(event.pointerId, [event.clientX, event.clientY]);
    canvas.classList.add("held");
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = held.get(event.pointerId);
    if (!before) { tell(event); return; }
    const apart = held.size === 2 ? spread() : 0;
    held.set(event.pointerId, [event.clientX, event.clientY]);
    if (held.size === 2) { enlarge(spread() / Math.max(apart, 1)); return; }
    const gain = pixel / scale;
    rotate((event.clientX - before[0]) * gain, (event.clientY - before[1]) * gain);
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, (event) => { held.delete(event.pointerId); if (!held.size) canvas.classList.remove("held"); });
  }
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); enlarge(Math.exp(-0.0015 * event.deltaY)); }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const moves = {
      ArrowLeft: () => rotate(-0.1, 0), ArrowRight: () => rotate(0.1, 0), ArrowUp: () => rotate(0, -0.1),
      ArrowDown: () => rotate(0, 0.1), "+": () => enlarge(1.15), "=": () => enlarge(1.15), "-": () => enlarge(1 / 1.15), 0: reset,
    };
    if (moves[event.key]) { event.preventDefault(); moves[event.key](); }
  });
  for (const box of Object.values(boxes)) box.addEventListener("change", ask);
  const save = (name, url) => { const link = document.createElement("a"); link.href = url; link.download = name; link.click(); };
  document.getElementById("reset").addEventListener("click", reset);
  document.getElementById("image").addEventListener("click", () => save("sphere.png", canvas.toDataURL("image/png")));
  document.getElementById("save").addEventListener("click", () => {
    const text = ["x1,x2,x3", ...points.map((p) => p.join(","))].join("\n");
    save("points.csv", `data:text/csv;charset=utf-8,${encodeURIComponent(`${text}\n`)}`);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readStyle(); ask(); });
  addEventListener("resize", fit);
  readStyle();
  fit();
  paint();
})();
