/* Florin: live status of a payment, docs/live-status.md */
window.florin = Object.assign(window.florin || {}, {
  watchPayment(options) {
    const FINAL = ["captured", "partially_captured", "settled", "disputed", "refunded",
      "reversed", "canceled", "failed"];
    const path = "/v1/client/payments/" + encodeURIComponent(options.paymentId);
    const headers = {
      Authorization: "Bearer " + options.publishableKey,
      "Client-Secret": options.clientSecret,
    };
    const silentMs = 2500 * (options.heartbeatSeconds || 15);
    let stopped, live, polling, line, shown, lastId, failures = 0;

    function stop() {
      stopped = true;
      if (line) line.abort();
    }

    function show(payment) {
      const text = JSON.stringify(payment);
      if (stopped || text === shown) return;
      shown = text;
      // Apart from here: what the page does wrong is the page's to see.
      setTimeout(options.onStatus, 0, payment);
      if (FINAL.includes(payment.status)) stop();
    }

    function ask(base, rest, more) {
      const settings = Object.assign({ headers, cache: "no-store", credentials: "omit" }, more);
      return fetch(base.replace(/\/$/, "") + path + rest, settings);
    }

    async function refused(answer) {
      if (![400, 401, 403, 404].includes(answer.status)) return false;
      const body = await answer.json();
      if (!stopped && options.onError) setTimeout(options.onError, 0, body.error);
      stop();
      return true;
    }

    function take(block) {
      const field = {};
      for (const line of block.split("\n")) {
        const [, name, value] = /^(\w*): ?(.*)/.exec(line);
        field[name] = value;
      }
      if (field.event === "payment.updated") {
        lastId = field.id;
        show(JSON.parse(field.data));
      } else if (/"final"/.test(field.data)) stop();
    }

    async function listen() {
      if (stopped) return;
      let watchdog, wait = 0;
      const own = line = new AbortController();
      const expect = (ms) => {
        clearTimeout(watchdog);
        watchdog = setTimeout(() => own.abort(), ms);
      };
      failures++;
      try {
        expect(5000);
        const answer = await ask(options.streamUrl || options.url, "/stream", {
          headers: Object.assign(lastId ? { "Last-Event-ID": lastId } : {}, headers),
          signal: own.signal,
        });
        wait = 1000 * answer.headers.get("Retry-After");
        // No stream process, or no such payment: polling tells which.
        if ([404, 405].includes(answer.status)) wait = 30000;
        else if (await refused(answer)) return;
        if (!answer.ok) throw answer;
        const reader = answer.body.getReader(), decoder = new TextDecoder();
        for (let text = "", part; !stopped && !(part = await reader.read()).done;) {
          expect(silentMs);
          live = true;
          failures = 0;
          const blocks = (text + decoder.decode(part.value, { stream: true })).split("\n\n");
          text = blocks.pop();
          blocks.forEach(take);
        }
      } catch (error) { /* cut off, silent, full or without streams */ }
      clearTimeout(watchdog);
      own.abort();
      live = false;
      if (failures && !polling) poll();
      const pause = Math.min(30000, 1000 * 2 ** failures) * (0.25 + Math.random() / 2);
      setTimeout(listen, Math.max(wait, pause));
    }

    async function poll() {
      polling = !stopped && !live;
      if (!polling) return;
      let wait = 0;
      try {
        if (!document.hidden) {
          const answer = await ask(options.url, "");
          if (await refused(answer)) return;
          wait = 1000 * answer.headers.get("Retry-After");
          if (answer.ok) {
            const payment = await answer.json();
            if (!live) show(payment);
          }
        }
      } catch (error) { /* no way there now */ }
      setTimeout(poll, Math.max(wait, 3000 + 1000 * Math.random()));
    }

    listen();
    return stop;
  },
});
