// Small pictures, drawn here: nothing is fetched for them.
const PATHS = {
  overview: "M3 12h4l3 8 4-16 3 8h4",
  jobs: "M8 6h13M8 12h13M8 18h13M3.5 6h.01M3.5 12h.01M3.5 18h.01",
  machines: "M4 4h16v6H4zM4 14h16v6H4zM7.5 7h.01M7.5 17h.01M12 7h5M12 17h5",
  pools: "M12 3l9 5-9 5-9-5zM3 12.5l9 5 9-5M3 17l9 5 9-5",
  images: "M21 8l-9-5-9 5v8l9 5 9-5zM3 8l9 5 9-5M12 13v8",
  doctor: "M12 21s-8-4.6-8-11a4.6 4.6 0 018-3 4.6 4.6 0 018 3c0 6.400-8 11-8 11zM6.500 12H9l1.500-3 3 5 1.500-2h2.500",
  config: "M4 6h10M18 6h2M4 12h2M10 12h10M4 18h8M16 18h4M14 4v4M6 10v4M12 16v4",
  moon: "M20 14.500A8.500 8.500 0 019.500 4 8.500 8.500 0 1020 14.500z",
  help: "M12 3a9 9 0 100 18 9 9 0 000-18zM9.500 9.500a2.500 2.500 0 114 2c-1 .7-1.500 1.200-1.500 2.500M12 17h.01",
  out: "M10 4H5v16h5M15 8l4 4-4 4M19 12H9",
  external: "M14 4h6v6M20 4l-9 9M18 14v6H4V6h6",
  down: "M12 4v12M7 11l5 5 5-5M5 20h14",
  shell: "M4 5h16v14H4zM7.500 9.500L10 12l-2.500 2.500M12 15h4",
  clock: "M12 3a9 9 0 100 18 9 9 0 000-18zM12 7v5l3 2",
  check: "M5 12.500l4.500 4.500L19 7",
  cross: "M6 6l12 12M18 6L6 18",
  dots: "M6 12h.01M12 12h.01M18 12h.01",
  play: "M8 5l11 7-11 7z",
  pause: "M8 5v14M16 5v14",
  warn: "M12 4l9 16H3zM12 10v4M12 17h.01",
  eye: "M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12zM12 9a3 3 0 100 6 3 3 0 000-6z",
} as const;

export type IconName = keyof typeof PATHS;

/** Only for the eye: what it means stands beside it, or in its element's label. */
export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

export function Flame() {
  return (
    <svg class="flame" viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d="M12.500 2c.8 4-4.500 6-4.500 11 0 1.200.4 2 .9 2.700C7 15.500 6 13.800 6 12c-1.300 1.400-2 3.200-2 5a8 8 0 0016 0c0-6-6.500-8-7.500-15z" />
      <path class="core" d="M12.300 11c.2 2-2.600 3.200-2.600 6.200a2.700 2.700 0 005.400 0c0-2.700-2.400-3.800-2.800-6.200z" />
    </svg>
  );
}
