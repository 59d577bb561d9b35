import { Component, type ComponentChild, type ComponentType } from "preact";

/** The component, drawn again only when one of its properties is another. For rows of long lists. */
export function pure<P extends object>(draw: (properties: P) => ComponentChild): ComponentType<P> {
  return class extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      const before = this.props as Record<string, unknown>;
      return Object.entries(next).some(([name, value]) => !Object.is(before[name], value));
    }

    override render() {
      return draw(this.props);
    }
  };
}
