// What is wider than the page is scrolled by keyboard, too; and both sidebars have names.
addEventListener("load", () => {
  for (const each of document.querySelectorAll("article pre, .table-wrapper, .output")) {
    if (each.scrollWidth > each.clientWidth) each.tabIndex = 0;
  }
  const names = { ".sidebar-drawer": "Site", ".toc-drawer": "This page" };
  for (const [where, name] of Object.entries(names)) {
    const found = document.querySelector(where);
    if (found) found.ariaLabel = name;
  }
});
