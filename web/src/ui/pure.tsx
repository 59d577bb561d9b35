import { Component, type ComponentChild, type ComponentType } from "preact";

/** The component, drawn again only when one of its properties is another, or has other fields. For rows of long lists. */
export function pure<P extends object>(draw: (properties: P) => ComponentChild): ComponentType<P> {
  return class extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      const before = this.props as Record<string, unknown>;
      return Object.entries(next).some(([name, value]) => !isSame(before[name], value));
    }

    override render() {
      return draw(this.props);
    }
  };
}

/** The same, or a plain object with the same fields. */
function isSame(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (!isPlain(a) || !isPlain(b)) return false;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => Object.is(a[name], b[name]));
}

function isPlain(one: unknown): one is Record<string, unknown> {
  return typeof one === "object" && one !== null && Object.getPrototypeOf(one) === Object.prototype;
}
