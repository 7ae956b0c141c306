// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO
import LifeboatStores
import LifeboatTesting
import Testing

/// Database files and their logs in a volume: captured as one state, whatever is written between the walk, the one and
/// the other.
@Suite struct LogGroupTests {
    /// Walks a folder; `visit` gets each item, and reads it when it likes.
    private func walk(_ folder: String, _ visit: (String, inout FileTreeItem) throws -> Void) throws {
        let walk = try FolderSource(folder).walk(Cancellation())
        defer { walk.close() }
        while var item = try walk.next() { try visit(String(decoding: item.entry.path, as: UTF8.self), &item) }
    }

    /// Opens and reads a file; `between` runs after the last byte and before the file is examined again.
    private func read(
        _ item: inout FileTreeItem, between: () throws -> Void = {}
    ) throws -> (text: String, outcome: FileReadOutcome) {
        let source = try #require(item.opener).open()
        defer { source.close() }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1000)
        while true {
            let count = try buffer.withUnsafeMutableBytes { try source.read(into: $0) }
            if count == 0 { break }
            bytes += buffer[..<count]
        }
        try between()
        let outcome = try source.finish(&item.entry)
        return (String(decoding: bytes, as: UTF8.self), outcome)
    }

    private func make(_ scratch: Scratch, _ log: String) throws {
        try scratch.folder("data")
        try scratch.write("data/x.db", "old pages")
        try scratch.write("data/x.db\(log)", "old log")
    }

    @Test(arguments: [".wal", "-wal", "-journal", ".shadow"])
    func `a database file counts as changed when its log changed, and the log is of the same time`(_ log: String) throws
    {
        let scratch = try Scratch()
        try make(scratch, log)
        var seen: [String] = []
        try walk(scratch("data")) { path, item in
            switch path {
            case "x.db":
                let first = try read(&item) { try scratch.write("data/x.db\(log)", "a longer log") }
                #expect(first == ("old pages", .changed))
                let second = try read(&item)
                #expect(second == ("old pages", .consistent))
                // What is written from here on is of another time, for the log too.
                try scratch.write("data/x.db\(log)", "the log of the next checkpoint")
                try scratch.write("data/x.db", "the pages of the next checkpoint")
            case "x.db\(log)":
                let read = try read(&item)
                #expect(read == ("a longer log", .consistent))
                #expect(item.entry.size == 12 && item.entry.problem == nil)
            default: return
            }
            seen.append(path)
        }
        #expect(seen.count == 2)
    }

    @Test func `a log that went away before the database file was read is not in the tree`() throws {
        let scratch = try Scratch()
        try make(scratch, ".wal")
        try walk(scratch("data")) { path, item in
            if path == "x.db" {
                unlink(scratch("data/x.db.wal"))
                let read = try read(&item)
                #expect(read == ("old pages", .consistent))
            } else if path == "x.db.wal" {
                #expect(throws: FileTreeError.self) { try read(&item) }
            }
        }
        // One that goes away while it is read makes it change.
        try scratch.write("data/x.db.wal", "log")
        try walk(scratch("data")) { path, item in
            guard path == "x.db" else { return }
            let read = try read(&item) { unlink(scratch("data/x.db.wal")) }
            #expect(read.outcome == .changed)
        }
    }

    @Test func `a log does not fit a database file of an earlier snapshot that changed since the walk`() throws {
        let scratch = try Scratch()
        try make(scratch, ".wal")
        try walk(scratch("data")) { path, item in
            // Unchanged since the last snapshot as far as the walk can tell: not opened.
            if path == "x.db" { try scratch.write("data/x.db", "checkpointed pages") }
            guard path == "x.db.wal" else { return }
            #expect(item.entry.changeFacts == nil, "a log is always read")
            _ = try read(&item)
            #expect(item.entry.problem?.contains("do not fit together") == true)
        }
        // One that did not change is the one of the earlier snapshot.
        try walk(scratch("data")) { path, item in
            guard path == "x.db.wal" else { return }
            let read = try read(&item)
            #expect(read == ("old log", .consistent) && item.entry.problem == nil)
        }
    }

    @Test func `a large log is copied whole, and files that only look like logs are read as they are`() throws {
        let scratch = try Scratch()
        try make(scratch, ".wal")
        let large = SplitMix64.bytes(5, 3_000_001)
        try scratch.write("data/x.db.wal", large)
        try scratch.write("data/other.wal", "by itself")
        let tree = try TreeCopy(of: scratch("data"))
        #expect(tree.content("x.db.wal") == large)
        #expect(tree.content("other.wal") == Array("by itself".utf8))
        #expect(tree.content("x.db") == Array("old pages".utf8))
    }

    // MARK: - Databases of a volume

    @Test func `embedded databases are recognised, and torn ones make the component incomplete`() throws {
        let scratch = try Scratch()
        for name in [
            "data", "data/t.lance", "data/t.lance/_versions", "data/t.lance/data", "data/milvus",
            "data/milvus/collections", "data/edge", "data/edge/segments", "data/ch", "data/ch/data", "data/ch/metadata",
            "data/ch/store", "data/ch/tmp", "data/plain.lance",
        ] {
            try scratch.folder(name)
        }
        let files: [(String, String)] = [
            ("data/a.duckdb", "12345678DUCK"), ("data/a.duckdb.wal", "w"), ("data/b.db", "KUZU1234"),
            ("data/b.db.wal", "w"), ("data/c.db", "LBUG1234"), ("data/c.db.wal", "w"), ("data/d.db", "12345678DUCK"),
            ("data/e.db", "nothing known"), ("data/e.db.wal", "w"), ("data/t.lance/_versions/1.manifest", "1"),
            ("data/t.lance/data/z.lance", "z"), ("data/milvus/LOCK", ""), ("data/edge/edge_config.json", "{}"),
        ]
        for (name, text) in files { try scratch.write(name, text) }
        let point = try VolumeStore(path: scratch("data")).fixPoint(Cancellation())
        defer { point.release() }
        guard case .tree(_, let source) = try #require(point.parts.first) else { return }
        let walk = try source.walk(Cancellation())
        defer { walk.close() }
        while var item = try walk.next() {
            guard item.opener != nil else { continue }
            // Between the walk and the reading something was added to one of them, and to a file of nobody's.
            if String(decoding: item.entry.path, as: UTF8.self) == "t.lance/data/z.lance" {
                try scratch.write("data/t.lance/data/z.lance", "zz")
            }
            _ = try read(&item)
        }
        let warnings = point.warnings.map(\.description).joined(separator: "\n")
        for (path, engine) in [
            ("a.duckdb", "DuckDB"), ("b.db", "Kuzu"), ("c.db", "LadybugDB"), ("t.lance", "LanceDB"),
            ("milvus", "Milvus Lite"), ("edge", "Qdrant Edge"), ("ch", "chDB"),
        ] {
            #expect(
                warnings.contains("'\(scratch("data"))/\(path)' is a \(engine) database"), "\(engine) in \(warnings)")
        }
        #expect(!warnings.contains("d.db'") && !warnings.contains("e.db'"), "\(warnings)")
        #expect(warnings.contains("services.freeze") && warnings.contains("'command' component"), "\(warnings)")
        #expect(warnings.contains("1 files of '\(scratch("data"))' changed after the folder was listed"), "\(warnings)")
        #expect(point.problems.count == 1 && point.problems[0].message.contains("a LanceDB database"))
    }
}
