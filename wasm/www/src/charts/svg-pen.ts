import { FONT, type Paint, type Pen, TEXT_SIZE, baselineShift, estimateWidth } from "./pen";
import { hex } from "./colour";

/** A pen that writes SVG; `svg()` gives the document. */
export interface SvgPen extends Pen {
  svg(): string;
}

/** Text made safe for XML, in elements and in attributes; characters that XML forbids are left out. */
export function escapeXml(text: string): string {
  return text
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "")
    .replace(/[&<>"]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c] ?? "&quot;");
}

const num = (value: number) => String(Math.round(value * 100) / 100 || 0);

function attributes(values: Record<string, string | number | undefined>): string {
  let text = "";
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined) continue;
    text += ` ${name}="${typeof value === "number" ? num(value) : escapeXml(value)}"`;
  }
  return text;
}

function paintAttributes(paint: Paint): string {
  return attributes({
    fill: paint.fill ?? "none",
    stroke: paint.stroke,
    "stroke-width": paint.stroke ? paint.width : undefined,
    "stroke-dasharray": paint.stroke && paint.dash?.length ? paint.dash.map(num).join(" ") : undefined,
    opacity: paint.alpha === 1 ? undefined : paint.alpha,
  });
}

/** A pen that writes an SVG picture with a title and a description for those who do not see it. */
export function svgPen(width: number, height: number, title: string, description: string): SvgPen {
  const parts: string[] = [];
  return {
    width,
    height,
    path(p, paint, close = false) {
      let d = "";
      let down = false;
      for (let i = 0; i + 1 < p.length; i += 2) {
        const [x, y] = [p[i]!, p[i + 1]!];
        if (Number.isFinite(x + y)) {
          d += `${down ? "L" : "M"}${num(x)} ${num(y)}`;
          down = true;
        } else {
          if (close && down) d += "Z";
          down = false;
        }
      }
      if (close && down) d += "Z";
      if (d)
        parts.push(
          `<path d="${d}"${paintAttributes(paint)}${paint.stroke ? ' stroke-linejoin="round"' : ""}/>`,
        );
    },
    rect({ x, y, width: w, height: h }, paint, radius = 0) {
      if (!Number.isFinite(x + y + w + h) || w < 0 || h < 0) return;
      parts.push(
        `<rect${attributes({ x, y, width: w, height: h, rx: radius || undefined })}${paintAttributes(paint)}/>`,
      );
    },
    circles(p, radius, paint) {
      for (let i = 0; i + 1 < p.length; i += 2) {
        if (!Number.isFinite(p[i]! + p[i + 1]!)) continue;
        parts.push(
          `<circle${attributes({ cx: p[i]!, cy: p[i + 1]!, r: radius })}${paintAttributes(paint)}/>`,
        );
      }
    },
    text(x, y, text, style) {
      if (!Number.isFinite(x + y)) return;
      const shape = attributes({
        x,
        y: y + baselineShift(style),
        "font-size": style.size ?? TEXT_SIZE,
        "font-weight": style.weight,
        "text-anchor": style.anchor === "start" ? undefined : style.anchor,
        fill: style.fill,
        stroke: style.halo,
        "stroke-width": style.halo && 3,
        "stroke-linejoin": style.halo && "round",
        "paint-order": style.halo && "stroke",
      });
      parts.push(`<text${shape}>${escapeXml(text)}</text>`);
    },
    measure: estimateWidth,
    cells(box, columns, rgba) {
      const rows = rgba.length / (4 * columns);
      if (columns < 1 || rows < 1) return;
      const turn = `translate(${num(box.x)} ${num(box.y)}) scale(${box.width / columns} ${box.height / rows})`;
      parts.push(`<g transform="${turn}" shape-rendering="crispEdges">${runs(columns, rows, rgba)}</g>`);
    },
    clip({ x, y, width: w, height: h }, draw) {
      // An inner picture cuts what leaves it, and needs no name that a second chart of the page could also
      // use.
      const view = [x, y, w, h].map(num).join(" ");
      parts.push(`<svg${attributes({ x, y, width: w, height: h, viewBox: view })}>`);
      draw();
      parts.push("</svg>");
    },
    svg() {
      const size = attributes({ width, height, viewBox: `0 0 ${num(width)} ${num(height)}` });
      const name = `<title>${escapeXml(title)}</title><desc>${escapeXml(description)}</desc>`;
      const font = attributes({ "font-family": FONT });
      return `<svg xmlns="http://www.w3.org/2000/svg" role="img"${size}${font}>${name}${parts.join("")}</svg>`;
    },
  };
}

/** One path for each colour, made of runs of equal cells; cells that cannot be seen are left out. */
function runs(columns: number, rows: number, rgba: Uint8ClampedArray): string {
  const paths = new Map<string, string>();
  const key = (cell: number) => hex([rgba[4 * cell]!, rgba[4 * cell + 1]!, rgba[4 * cell + 2]!]);
  for (let row = 0; row < rows; row++) {
    for (let from = 0, to = 0; from < columns; from = to) {
      const colour = key(row * columns + from);
      const alpha = rgba[4 * (row * columns + from) + 3]!;
      for (to = from + 1; to < columns && key(row * columns + to) === colour;) {
        if (rgba[4 * (row * columns + to) + 3] !== alpha) break;
        to++;
      }
      if (alpha === 0) continue;
      const paint = colour + (alpha < 255 ? `" fill-opacity="${num(alpha / 255)}` : "");
      paths.set(paint, `${paths.get(paint) ?? ""}M${from} ${row}h${to - from}v1h${from - to}z`);
    }
  }
  return [...paths].map(([paint, d]) => `<path fill="${paint}" d="${d}"/>`).join("");
}
