// SPDX-License-Identifier: Apache-2.0

import LifeboatStores
import Testing

struct PathSelectionTests {
    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test func everythingIsChosenByDefault() {
        #expect(PathSelection.everything.includes(bytes("a/b"), isFolder: false))
        #expect(PathSelection([bytes("a"), []]).includes(bytes("z"), isFolder: false))
    }

    @Test func aChosenPathBringsWhatIsBelowItAndTheFoldersAboveIt() {
        let selection = PathSelection([bytes("a/b")])
        #expect(selection.includes([], isFolder: true))
        #expect(selection.includes(bytes("a"), isFolder: true))
        #expect(selection.includes(bytes("a/b"), isFolder: false))
        #expect(selection.includes(bytes("a/b/c/d"), isFolder: false))
        #expect(!selection.includes(bytes("a"), isFolder: false))
        #expect(!selection.includes(bytes("a/bc"), isFolder: false))
        #expect(!selection.includes(bytes("a/c"), isFolder: true))
        #expect(!selection.includes(bytes("ab"), isFolder: true))
    }

    @Test func belowMeansInsideTheFolder() {
        #expect(PathSelection.isBelow(bytes("a"), []))
        #expect(!PathSelection.isBelow([], []))
        #expect(PathSelection.isBelow(bytes("a/b"), bytes("a")))
        #expect(!PathSelection.isBelow(bytes("a"), bytes("a")))
        #expect(!PathSelection.isBelow(bytes("ab"), bytes("a")))
    }
}
