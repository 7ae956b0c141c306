// SPDX-License-Identifier: Apache-2.0

import LifeboatCore

extension PostgresTableStore: PartialStore {
    /// The dump as far as it goes: the rows of a table lie somewhere in it. A table that the snapshot does not hold is the
    /// preflight's to tell.
    package func selection(of content: any RestoreContent) throws -> ContentSelection? {
        let own = PostgresContent(content, store.database)
        let streams = [PostgresParts.settings, PostgresParts.dump]
        var selection = ContentSelection()
        selection.streams = Set(streams.map(own.name))
        selection.bytes = streams.reduce(0) { $0 + (own.streamSize($1) ?? 0) }
        for text in tables {
            for name in try PostgresTableName.candidates(text).map(Self.fact) {
                selection.facts.counts[name] = own.facts.counts[name]
            }
        }
        return selection
    }
}
