// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
package import LifeboatFormats

/// Tells whether all of a content is still in the repository, by the indexes and the list of packs, without reading
/// data: what lets a backup refer to yesterday's content. Used on one thread.
package final class ContentPresence {
    private let reader: ChunkReader
    private let rechecking: Bool
    /// Lists found complete, so that a file that occurs often is looked at once.
    private var completeLists: Set<Digest> = []

    /// `reader` must use an index set restricted to packs that are present. With `rechecking` a damaged local copy of an
    /// index is ruled out before a chunk counts as missing: for whoever tells people about it.
    package init(_ reader: ChunkReader, rechecking: Bool = false) {
        self.reader = reader
        self.rechecking = rechecking
    }

    package func isComplete(_ content: ContentReference) -> Bool {
        guard content.size > 0 else { return true }
        guard reader.isKnown(content.id, rechecking: rechecking) else { return false }
        guard content.depth > 0, !completeLists.contains(content.id) else { return true }
        do {
            // Walking the chunks also reads the lists of every level.
            let chunks = try ChunkSequence(reader, content)
            while let chunk = try chunks.next() {
                guard reader.isKnown(chunk.id, rechecking: rechecking) else { return false }
            }
        } catch {
            // A list that cannot be read: the content has to be stored again.
            return false
        }
        completeLists.insert(content.id)
        return true
    }
}
