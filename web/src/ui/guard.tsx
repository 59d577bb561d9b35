import { Component, type ComponentChildren } from "preact";
import { clipped } from "../words/clip.ts";

/** A view that cannot be shown takes nothing else along. */
export class Guard extends Component<{ children?: ComponentChildren }, { error: unknown }> {
  override state = { error: undefined as unknown };

  static override getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override componentDidCatch(error: unknown): void {
    console.error(error);
  }

  override render() {
    const { error } = this.state;
    if (error === undefined) return this.props.children;
    return (
      <div class="fault" role="alert">
        <h1>This view cannot be shown</h1>
        <p>{clipped(error instanceof Error ? error.message : String(error), 500)}<small>It is a mistake of the page. The command line shows the same: <code>fireactions --help</code>.</small></p>
        <button type="button" onClick={() => this.setState({ error: undefined })}>Try again</button>
      </div>
    );
  }
}
