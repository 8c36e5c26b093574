// Shows the parts of an input. What comes from records is shown as text, never as markup.

/** Signs that would act instead of being shown: control signs but for lines and tabs, and what turns the direction. */
const ACTING = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;
export const seen = (text) => text.replace(/\r\n/g, "\n").replace(ACTING, (sign) => `\\u${sign.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** Characters from which on a text is long, and pixels below which a picture is small. */
const LONG = 600, SMALL = 160;

function element(name, className, ...children) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function body(part) {
  if (part.kind === "picture") {
    const image = element("img", "picture");
    image.alt = part.name ? `the picture ${seen(part.name)}` : "the picture to label";
    image.addEventListener("load", () => image.classList.toggle("small", Math.max(image.naturalWidth, image.naturalHeight) < SMALL));
    image.src = part.picture;
    return image;
  }
  const made = element(part.kind === "data" ? "pre" : "div", part.kind === "data" ? "data" : "text");
  made.classList.toggle("long", part.text.length > LONG);
  made.dir = "auto";
  made.textContent = seen(part.text);
  return made;
}

/** The elements of all parts of an input. */
export function shown(parts) {
  return parts.map((part) => {
    const made = element("figure", "part");
    if (part.name) made.append(element("figcaption", "", seen(part.name)));
    made.append(body(part));
    if (part.left_out) made.append(element("p", "hint", `${part.left_out.toLocaleString("en")} more characters are not shown.`));
    return made;
  });
}
