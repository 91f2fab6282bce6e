// Starts what the page has: viewers, the video where motion is welcome, the command's copy button.
viewer("splats", "splat-file", { antialias: false, depth: false }, splatViewer);
viewer("mesh", "mesh-file", { depth: true }, meshViewer);

const video = document.querySelector("video");
const link = document.getElementById("video-file");
if (video && link) { // its bytes stand in the page once
  link.href = video.src;
  link.parentElement.hidden = false;
}
if (video && !matchMedia("(prefers-reduced-motion: reduce)").matches) {
  new IntersectionObserver(([{ isIntersecting }]) => {
    if (isIntersecting) video.play().catch(() => {});
    else video.pause();
  }).observe(video);
}

const copy = document.getElementById("copy");
if (copy) {
  copy.hidden = false;
  copy.addEventListener("click", async () => {
    const command = document.getElementById("command");
    let copied = false;
    try {
      await navigator.clipboard.writeText(command.textContent);
      copied = true;
    } catch { // not allowed here: select it, and try as of old
      getSelection().selectAllChildren(command);
      copied = document.execCommand("copy");
    }
    const said = document.getElementById("copied");
    said.textContent = copied ? "copied" : "selected: press Ctrl+C or ⌘C";
    setTimeout(() => { said.textContent = ""; }, 4000);
  });
}
