/** A branch of the tree: to a child, or to the end of the answer where `to` is the node itself. */
export interface Branch {
  readonly from: number;
  readonly to: number;
  /** The probability that flows through it. */
  readonly width: number;
  /** Where its middle leaves the node, from the middle of the node, in the same unit. */
  readonly start: number;
}

/** How many symbols stand before a node. */
export function depthOf(node: number, symbols: number): number {
  return node > 0 ? 1 + depthOf(Math.floor((node - 1) / symbols), symbols) : 0;
}

/** A node and its children in the order from top to bottom: the node's own end between them, so that nothing crosses. */
function fan(node: number, size: number, symbols: number): number[] {
  const children = Array.from({ length: symbols }, (_, i) => node * symbols + 1 + i).filter((child) => child < size);
  children.splice(Math.ceil(children.length / 2), 0, node);
  return children;
}

/** The answers from top to bottom, a row for each. */
export function rowsOf(size: number, symbols: number): number[] {
  const visit = (node: number): number[] => fan(node, size, symbols).flatMap((next) => (next === node ? [node] : visit(next)));
  return visit(0);
}

/** The branches of a tree, stacked at every node in the order of the rows: what comes in goes out. */
export function branchesOf(flow: ArrayLike<number>, ends: ArrayLike<number>, symbols: number): Branch[] {
  return Array.from(flow, (whole, from) => {
    let top = -whole / 2;
    return fan(from, flow.length, symbols).map((to) => {
      const width = (to === from ? ends : flow)[to] ?? 0;
      top += width;
      return { from, to, width, start: top - width / 2 };
    });
  }).flat();
}
