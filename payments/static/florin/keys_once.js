// A key is shown once: reloading goes on instead of sending the form again, going back shows no
// stale copy, and the copy button saves people from selecting by hand.
"use strict";

const card = document.querySelector("[data-continue-url]");
window.history.replaceState(null, "", card.dataset.continueUrl);
window.addEventListener("pageshow", (event) => {
  if (event.persisted) window.location.reload();
});
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const key = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(key.textContent);
      button.textContent = "Copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(key);
      window.getSelection().removeAllRanges();
      window.getSelection().addRange(range);
      button.textContent = "Selected: press Ctrl+C";
    }
  });
}
