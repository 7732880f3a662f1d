"""What a page looks like at the width it has now: measured in the browser, once for all rules."""

#: For each rule what breaks it, in words; tables and code that are folded have no width, and are not looked at.
MEASURE = r"""() => {
  const all = (selector, root = document.querySelector('main')) => [...root.querySelectorAll(selector)];
  const words = (node) => node.textContent.trim().replace(/\s+/g, ' ').slice(0, 60);
  const cut = (node) => node.clientWidth > 0 && node.scrollWidth > node.clientWidth + 1;
  const over = (nodes) => nodes.filter(cut).map((n) => `${n.scrollWidth} in ${n.clientWidth}: ${words(n)}`);
  const seen = all('.bp-figure img').filter((image) => image.clientWidth > 0);
  const small = seen.map((image) => {
    const svg = atob(image.src.split('base64,')[1]), wide = Number(/viewBox="0 0 ([\d.]+)/.exec(svg)[1]);
    const sizes = [...svg.matchAll(/ scale\((0\.\d+) -/g)].map((found) => 100 * Number(found[1]));
    return [Math.min(...sizes) * image.clientWidth / wide, image.closest('figure').id];
  });
  const drawn = all('.bpw svg text').map((text) => {
    const svg = text.ownerSVGElement;
    return [parseFloat(getComputedStyle(text).fontSize) * svg.clientWidth / svg.viewBox.baseVal.width, words(text)];
  });
  const numbers = all('.bp-figure .bp-number').map((n) => Number(/\d+/.exec(n.textContent)[0]));
  const captions = all('figcaption, caption').filter((n) => n.closest('.bpw') === null);
  return {
    tables: over(all('table').concat(all('.text_html')).filter((n) => n.closest('.bpw') === null)),
    equations: over(all('div.math').concat(all('mjx-container[display="true"]'))),
    stops: all('mjx-container[tabindex]').map(words),
    code: over(all('div.cell_input div.highlight pre')),
    text: small.concat(drawn).filter(([size]) => size < 9).map(([size, what]) => `${size.toFixed(1)} px: ${what}`),
    captions: captions.filter((n) => /[`]|(^|\s)\*\S|^Fig\. \d+\.\s+Fig\b/.test(n.textContent)).map(words),
    clashes: all('.bp-figure[data-clashes]').map((n) => `${n.id}: ${n.dataset.clashes}`),
    numbers: numbers.every((n, i) => n === i + 1) ? [] : [`figures are numbered ${numbers}`],
    links: all('a[href^="#fig-"]:not(.headerlink)').filter((a) => {
      const named = document.querySelector(`${a.getAttribute('href')} .bp-number`);
      return !named || named.textContent.replace(/\.$/, '') !== a.textContent.trim();
    }).map((a) => a.outerHTML),
  };
}"""
