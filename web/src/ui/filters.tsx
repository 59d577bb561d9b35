// What narrows a list. It is kept in the address, so that a list can be sent to somebody.
import { useEffect, useRef, useState } from "preact/hooks";
import { setQuery } from "../router.ts";
import { clipped } from "../words/clip.ts";

const PAUSE = 120;

export function Search({ value, label }: { value: string; label: string }) {
  const [text, setText] = useState(value);
  // What the address has of this field, by either of them. What the field has written there itself comes back late, when more may have
  // been typed, and is nothing new.
  const known = useRef(value);
  useEffect(() => {
    if (value === known.current) return;
    known.current = value;
    setText(value);
  }, [value]);
  useEffect(() => {
    if (text === known.current) return;
    const timer = setTimeout(() => {
      known.current = text;
      setQuery({ q: text });
    }, PAUSE);
    return () => clearTimeout(timer);
  }, [text]);
  return (
    <input
      type="search" class="search" placeholder={`${label}  /`} aria-label={label} value={text}
      onInput={(event) => setText(event.currentTarget.value)}
    />
  );
}

/** One of several, each with how many there are. */
export function Chips({ name, value, options }: {
  name: string;
  value: string;
  options: readonly { value: string; label: string; count: number }[];
}) {
  return (
    <div class="chips" role="group" aria-label={name}>
      {options.map((one) => (
        <button
          key={one.value} type="button" aria-pressed={one.value === value}
          onClick={() => setQuery({ [name]: one.value })}
        >
          {one.label} <b>{one.count}</b>
        </button>
      ))}
    </div>
  );
}

export function Choice({ name, label, value, options }: {
  name: string;
  label: string;
  value: string;
  options: readonly string[];
}) {
  if (options.length < 2 && value === "") return null;
  return (
    <select aria-label={label} value={value} onChange={(event) => setQuery({ [name]: event.currentTarget.value })}>
      <option value="">{label}: all</option>
      {options.slice(0, 500).map((one) => <option key={one} value={one}>{clipped(one, 60)}</option>)}
    </select>
  );
}
