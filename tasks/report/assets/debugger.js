// Shows the records in #debugger-data: a slider each, and under it the pictures with their figures.
function looks() {
  const groups = JSON.parse(document.getElementById("debugger-data").textContent);
  const place = document.getElementById("looks");
  if (!groups || !place) return;
  function add(parent, tag, text, name) {
    const element = document.createElement(tag);
    if (text) element.textContent = text;
    if (name) element.className = name;
    return parent.appendChild(element);
  }

  place.replaceChildren();
  for (const group of groups) {
    const section = add(place, "section");
    add(section, "h3", group.title);
    const bar = add(section, "p", "", "bar");
    const play = add(bar, "button", "Play");
    play.type = "button";
    const slider = add(bar, "input");
    const label = add(bar, "output");
    Object.assign(slider, { type: "range", min: 0, max: group.frames.length - 1 });
    slider.value = slider.max;
    slider.setAttribute("aria-label", group.title);
    bar.hidden = group.frames.length < 2;
    const heads = add(section, "div", "", "look");
    add(heads, "span");
    const names = add(heads, "div", "", "heads");
    for (const column of group.columns) add(names, "span", column);
    const rows = add(section, "div");

    function show() {
      const frame = group.frames[slider.value];
      label.textContent = frame.label;
      slider.setAttribute("aria-valuetext", frame.label);
      rows.replaceChildren();
      for (const index of frame.rows) {
        if (index === null) continue;
        const row = add(rows, "div", "", "look");
        const text = add(row, "span", "", "facts");
        for (const line of group.rows[index].lines) add(text, "div", line);
        const image = add(row, "img");
        Object.assign(image, { src: group.rows[index].image, alt: group.columns.join(", ") });
      }
    }
    let timer = 0;
    function stop() {
      clearInterval(timer);
      timer = 0;
      play.textContent = "Play";
    }
    play.addEventListener("click", () => {
      if (timer) return stop();
      if (slider.value === slider.max) slider.value = 0;
      show();
      play.textContent = "Stop";
      timer = setInterval(() => {
        slider.value = Number(slider.value) + 1;
        show();
        if (slider.value === slider.max) stop();
      }, 400);
    });
    slider.addEventListener("input", () => { stop(); show(); });
    show();
  }
}
looks();
