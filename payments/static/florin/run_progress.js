// A run over dead letters, live: asks for the figures once a second and loads the page anew when the
// run has ended. Without script the page is reloaded by hand.
"use strict";

const card = document.querySelector("[data-progress-url]");
const bar = card.querySelector("progress");
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const follow = async (url) => {
  for (;;) {
    await pause(1000);
    const answer = await fetch(url, { headers: { Accept: "application/json" } }).catch(() => null);
    if (answer === null) continue;
    if (!answer.ok || answer.redirected) return;
    const figures = await answer.json();
    bar.value = figures.percentage;
    for (const place of card.querySelectorAll("[data-field]")) {
      if (place.dataset.field !== "status") place.textContent = figures[place.dataset.field];
    }
    if (figures.status !== "running") return window.location.reload();
  }
};

if (card.dataset.progressUrl) follow(card.dataset.progressUrl);
