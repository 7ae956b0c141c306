// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatFormats
import LifeboatRepository
import LifeboatRestore
import Testing

struct LooseLayoutTests {
    private func component(
        _ name: String, _ store: String, source: String, streams: [String] = [], trees: [String] = []
    ) -> Manifest.Component {
        var component = Manifest.Component(name: name, store: store, source: source, method: "m")
        let content = ContentReference(id: Digest(bigEndianWords: 1, 2, 3, 4), depth: 0, size: 1)
        component.parts =
            streams.map { Manifest.Part(name: $0, kind: .stream, content: content) }
            + trees.map { Manifest.Part(name: $0, kind: .tree, content: content) }
        return component
    }

    @Test func volumesKeepTheirPathAndStreamsGoByComponent() throws {
        let layout = try LooseLayout(
            [
                component("database", "postgres", source: "semantik", streams: ["dump", "globals"]),
                component("documents", "volume", source: "/srv/docs/", trees: ["tree"]),
            ], below: "/tmp/out")
        #expect(
            layout.items.map(\.path) == [
                "/tmp/out/database/dump.pgdump", "/tmp/out/database/globals.sql", "/tmp/out/srv/docs",
            ])
    }

    @Test func theWholeFileSystemGoesStraightBelowTheFolder() throws {
        let layout = try LooseLayout([component("all", "volume", source: "/", trees: ["tree"])], below: "/tmp/out")
        #expect(layout.items.map(\.path) == ["/tmp/out/."])
    }

    @Test func aManifestDoesNotChooseAPlaceOutside() {
        for source in ["/srv/../../etc", "/srv/./x", "/a\0b"] {
            #expect(throws: LifeboatError.self) {
                try LooseLayout([component("a", "volume", source: source, trees: ["tree"])], below: "/tmp/out")
            }
        }
        for name in ["..", "a/b", ""] {
            #expect(throws: LifeboatError.self) {
                try LooseLayout([component(name, "other", source: "x", streams: ["data"])], below: "/tmp/out")
            }
            #expect(throws: LifeboatError.self) {
                try LooseLayout([component("a", "other", source: "x", streams: [name])], below: "/tmp/out")
            }
        }
    }

    @Test func componentsThatWouldMixAreRefused() {
        let pairs: [(String, String)] = [("/srv", "/srv/docs"), ("/srv/docs", "/srv"), ("/srv", "/srv"), ("/", "/srv")]
        for (first, second) in pairs {
            let error = #expect(throws: LifeboatError.self) {
                try LooseLayout(
                    [
                        component("a", "volume", source: first, trees: ["tree"]),
                        component("b", "volume", source: second, trees: ["tree"]),
                    ], below: "/tmp/out")
            }
            #expect(error?.exitCode == .usage)
        }
        #expect(throws: Never.self) {
            try LooseLayout(
                [
                    component("a", "volume", source: "/srv", trees: ["tree"]),
                    component("b", "volume", source: "/srv2", trees: ["tree"]),
                ], below: "/tmp/out")
        }
    }
}
