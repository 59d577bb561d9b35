/** What to say when a part of the page does not come, or breaks: a server of another version has other parts. */
export const PART_FAILED = "a part of the page could not be loaded, or has failed: load the page again";
