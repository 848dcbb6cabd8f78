// What is wider than the page is scrolled by keyboard, too.
addEventListener("load", () => {
  for (const each of document.querySelectorAll("article pre, .table-wrapper, .output")) {
    if (each.scrollWidth > each.clientWidth) each.tabIndex = 0;
  }
});
