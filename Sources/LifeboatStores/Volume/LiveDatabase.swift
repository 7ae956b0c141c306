// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatFormats
import LifeboatIO

/// What a volume does about the data of a database in it, which no walk captures as one state while the database runs.
package enum LiveDatabaseRule: Sendable {
    /// What is surely torn is refused, what may be is told.
    case refuse
    /// All of it is told.
    case warn
    /// Its user knows better: the database is stopped, or its files are not needed.
    case allow
}

/// A database recognised by the files it keeps.
struct LiveDatabase: Equatable {
    enum Kind: Equatable {
        case postgres(isRunning: Bool)
        case redis, chroma, qdrant
        /// With its log or journal.
        case sqlite
        /// One file and its logs: DuckDB, Kuzu, LadybugDB.
        case file(String)
        /// A folder that an embedded database keeps: LanceDB, Milvus Lite, chDB, Qdrant Edge.
        case folder(String)
    }

    var kind: Kind
    /// Of the folder, of SQLite the database itself, below the volume's root; empty for the root.
    var path: String

    private var name: String {
        switch kind {
        case .postgres(isRunning: true): "the data of a running PostgreSQL server"
        case .postgres(isRunning: false): "a PostgreSQL cluster"
        case .redis: "the data of a Redis server"
        case .chroma: "a Chroma database"
        case .qdrant: "the storage of a Qdrant server"
        case .sqlite: "a SQLite database in use"
        case .file(let engine): "a \(engine) database in use"
        case .folder(let engine): "a \(engine) database"
        }
    }

    /// The component that captures it as one state; nil when there is none of its own.
    private var store: String? {
        switch kind {
        case .postgres: "postgres"
        case .redis: "redis"
        case .chroma: "chroma"
        case .qdrant: "qdrant"
        case .sqlite: "sqlite"
        case .file, .folder: nil
        }
    }

    private var cause: String {
        switch kind {
        case .postgres(isRunning: true):
            "there is a postmaster.pid: the server runs, or did not stop in order; copied file by file it will not start"
        case .file:
            "changes wait in its log: the file and its logs are read together, and again when one of them changed"
        case .sqlite: "changes wait in its log or journal: copied at different moments the files do not fit together"
        default: "files of a running database change while they are copied, and the copy may not open"
        }
    }

    private var isOneFile: Bool {
        switch kind {
        case .sqlite, .file: true
        default: false
        }
    }

    /// What is wrong when files of it changed after they were listed; nil when none did. `volume` is the volume's path.
    func torn(in volume: String, _ changes: ChangedFiles) -> LifeboatError? {
        // A file and its logs are read together, and say themselves when that did not work out.
        guard !isOneFile else { return nil }
        let count = changes.count(below: path)
        guard count > 0 else { return nil }
        return LifeboatError(
            "\(name) in '\(path.isEmpty ? volume : "\(volume)/\(path)")' changed while it was read",
            causes: ["\(count) of its files are of a later time than the others"], hint: finding(in: volume).hint,
            exitCode: .incomplete)
    }

    /// `volume` is the volume's path.
    func finding(in volume: String) -> LifeboatError {
        let place = path.isEmpty ? volume : "\(volume)/\(path)"
        guard let store else {
            return LifeboatError(
                "'\(place)' is \(name)", causes: [cause],
                hint: "Let 'services.freeze' hold or stop what writes to it, or let a 'command' component export it"
                    + " and leave it out here, 'exclude: [\"/\(path)\(isOneFile ? "*" : "")\"]'. With"
                    + " 'allow_live_databases: true' it is copied as it is.")
        }
        var hint = "Protect it as a '\(store)' component"
        if !path.isEmpty {
            hint += " and leave it out here, 'exclude: [\"/\(path)\(kind == .sqlite ? "*" : "")\"]'"
        }
        hint += kind == .postgres(isRunning: true) ? "; or stop it for the backup" : ", or stop it for the backup"
        return LifeboatError(
            "'\(place)' is \(name)", causes: [cause],
            hint: hint + ". With 'allow_live_databases: true' it is copied as it is.")
    }
}

/// Recognises databases among the objects of a walk, by their names and, of a few names, some first bytes. Asks the file
/// system only about objects that have such a name.
struct LiveDatabaseWatch {
    private(set) var found: [LiveDatabase] = []
    /// Beyond this number they are only counted.
    private static let limit = 20
    private(set) var more = 0

    /// The database this object is a mark of, if it is the first one of it.
    mutating func examine(_ item: FileTreeItem) -> LiveDatabase? {
        guard let object = item.object as? WalkedObject, let database = Self.database(item, object) else { return nil }
        // One database has several marks.
        if found.contains(where: { $0.path == database.path || Self.parent($0.path) == database.path }) { return nil }
        if found.count < Self.limit { found.append(database) } else { more += 1 }
        return database
    }

    func warnings(in volume: String) -> [LifeboatError] {
        var warnings = found.map { $0.finding(in: volume) }
        if more > 0 { warnings.append(LifeboatError("'\(volume)' holds \(more) more databases")) }
        return warnings
    }

    private static func parent(_ path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? ""
    }

    private static func database(_ item: FileTreeItem, _ object: WalkedObject) -> LiveDatabase? {
        let bytes = item.entry.path
        let start = bytes.lastIndex(of: 0x2F).map { $0 + 1 } ?? 0
        let name = bytes[start...]
        let folder = String(decoding: bytes[..<max(0, start - 1)], as: UTF8.self)
        guard let last = name.last else { return nil }
        switch item.entry.kind {
        case .directory:
            if name.elementsEqual("appendonlydir".utf8) { return LiveDatabase(kind: .redis, path: folder) }
            // X.lance/_versions; data, metadata and store of the engine that chDB embeds.
            if name.elementsEqual("_versions".utf8), folder.hasSuffix(".lance") {
                return LiveDatabase(kind: .folder("LanceDB"), path: folder)
            }
            if name.elementsEqual("metadata".utf8), object.hasSibling("store"), object.hasSibling("data"),
                object.hasSibling("tmp")
            {
                return LiveDatabase(kind: .folder("chDB"), path: folder)
            }
            return nil
        case .file: break
        default: return nil
        }
        // Nearly every name ends here.
        switch last {
        case UInt8(ascii: "N") where name.elementsEqual("PG_VERSION".utf8):
            // Folders of single databases have the file too.
            guard object.hasSibling("global") else { return nil }
            return LiveDatabase(kind: .postgres(isRunning: object.hasSibling("postmaster.pid")), path: folder)
        case UInt8(ascii: "b") where name.elementsEqual("dump.rdb".utf8):
            return begins(item, with: [Array("REDIS".utf8), Array("VALKEY".utf8)])
                ? LiveDatabase(kind: .redis, path: folder) : nil
        case UInt8(ascii: "3") where name.elementsEqual("chroma.sqlite3".utf8):
            return LiveDatabase(kind: .chroma, path: folder)
        case UInt8(ascii: "n") where name.elementsEqual("edge_config.json".utf8):
            return object.hasSibling("segments") ? LiveDatabase(kind: .folder("Qdrant Edge"), path: folder) : nil
        case UInt8(ascii: "K") where name.elementsEqual("LOCK".utf8):
            return object.hasSibling("collections") ? LiveDatabase(kind: .folder("Milvus Lite"), path: folder) : nil
        case UInt8(ascii: "n") where name.elementsEqual("raft_state.json".utf8):
            return object.hasSibling("collections") ? LiveDatabase(kind: .qdrant, path: folder) : nil
        case UInt8(ascii: "l"):
            // sqlite.org/fileformat2.html: the first bytes of a write-ahead log in either byte order, of a journal.
            let magics: [String: [[UInt8]]] = [
                "-wal": [[0x37, 0x7F, 0x06, 0x82], [0x37, 0x7F, 0x06, 0x83]],
                "-journal": [[0xD9, 0xD5, 0x05, 0xF9, 0x20, 0xA1, 0x63, 0xD7]],
            ]
            for (ending, magics) in magics where name.count > ending.utf8.count {
                guard name.suffix(ending.utf8.count).elementsEqual(ending.utf8) else { continue }
                let database = name.dropLast(ending.utf8.count)
                guard object.hasSibling(String(decoding: database, as: UTF8.self)), begins(item, with: magics) else {
                    continue
                }
                // Chroma's own is part of it.
                if database.elementsEqual("chroma.sqlite3".utf8) { return nil }
                return LiveDatabase(
                    kind: .sqlite, path: String(decoding: bytes[..<database.endIndex], as: UTF8.self))
            }
            guard name.suffix(4).elementsEqual(".wal".utf8) else { return nil }
            return fileDatabase(bytes, name.dropLast(4), object)
        default: return nil
        }
    }

    /// The database that a log `X.wal` belongs to, by what its file begins with.
    private static func fileDatabase(
        _ path: [UInt8], _ name: ArraySlice<UInt8>, _ object: WalkedObject
    ) -> LiveDatabase? {
        guard let begin = object.beginning(ofSibling: String(decoding: name, as: UTF8.self), 16) else { return nil }
        let marks: [(engine: String, offset: Int, mark: String)] = [
            ("DuckDB", 8, "DUCK"), ("Kuzu", 0, "KUZU"), ("LadybugDB", 0, "LBUG"),
        ]
        for (engine, offset, mark) in marks where begin.dropFirst(offset).starts(with: mark.utf8) {
            return LiveDatabase(
                kind: .file(engine), path: String(decoding: path[..<name.endIndex], as: UTF8.self))
        }
        return nil
    }

    /// Whether a file begins with one of these. One that cannot be opened is left to the capture, which reports it.
    private static func begins(_ item: FileTreeItem, with magics: [[UInt8]]) -> Bool {
        guard let source = try? item.opener?.open() else { return false }
        defer { source.close() }
        var bytes = [UInt8](repeating: 0, count: 16)
        guard let count = try? bytes.withUnsafeMutableBytes({ try source.read(into: $0) }) else { return false }
        return magics.contains { bytes[..<count].starts(with: $0) }
    }
}
