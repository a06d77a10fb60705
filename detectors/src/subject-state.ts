import { type Columns, type Layout, loadColumns, makeColumns, pickColumns, saveColumns } from "./columns.ts";
import type { Saved, Step } from "./detector.ts";
import { type Episodes, forgetEpisodes, openFindings, SavedEpisodes } from "./episode.ts";

/** What a detector that looks at each series by itself remembers: numbers by slot, and what it has announced. */
export interface SubjectState<L extends Layout> {
  columns: Columns<L>;
  episodes: Episodes;
}

/** The parts of such a detector that follow from its layout alone. */
export const subjectState = <L extends Layout>(layout: L) => ({
  start: (): SubjectState<L> => ({ columns: makeColumns(layout), episodes: new Map() }),

  /** Slots that have no numbers yet are forgotten. */
  forget(state: SubjectState<L>, kept: Uint32Array): Step<SubjectState<L>> {
    const { episodes, findings } = forgetEpisodes(state.episodes, kept);
    const known = kept.filter((slot) => slot < state.columns.slots);
    return { state: { columns: pickColumns(state.columns, layout, known), episodes }, findings };
  },

  save: ({ columns, episodes }: SubjectState<L>): Saved => ({
    json: [...episodes],
    columns: saveColumns(columns, layout),
    open: openFindings(episodes),
  }),

  load: (saved: Saved): SubjectState<L> => ({
    columns: loadColumns(saved.columns, layout),
    episodes: new Map(SavedEpisodes.parse(saved.json)),
  }),
});
