// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// SQLite databases as other programs have them: everything here runs in a process of its own, with another build of the
/// library.
package enum SQLiteProgram {
    private static func python(_ script: String, _ arguments: [String]) -> ProcessCommand {
        ProcessCommand("python3", ["-c", script] + arguments, environment: ["PYTHONDONTWRITEBYTECODE": "1"])
    }

    /// Runs statements, each in its own transaction; rows of the last as lines, columns parted by `|`.
    @discardableResult
    package static func sql(_ path: String, _ statements: String...) throws -> String {
        let script = """
            import sqlite3, sys
            database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
            for statement in sys.argv[2:]:
                rows = database.execute(statement).fetchall()
            print("\\n".join("|".join(str(value) for value in row) for row in rows))
            database.close()
            """
        return try finish(python(script, [path] + statements))
    }

    /// All that a database holds, as SQL.
    package static func dump(_ path: String) throws -> String {
        try finish(
            python(
                """
                import sqlite3, sys
                database = sqlite3.connect(sys.argv[1])
                print("\\n".join(database.iterdump()))
                """, [path]))
    }

    /// Runs a script, which finds the arguments in `sys.argv`; its output.
    package static func run(_ script: String, _ arguments: String...) throws -> String {
        try finish(python(script, arguments))
    }

    private static func finish(_ command: ProcessCommand) throws -> String {
        let result = try SystemProcessRunner().run(
            command, input: [], outputLimit: 64 << 20, deadline: 60, cancellation: nil)
        guard result.termination.succeeded else {
            throw LifeboatError("a program with SQLite failed: \(result.termination)", causes: [result.standardError])
        }
        return result.trimmed
    }

    /// A database in the given journal mode with two tables: `orders`, and `lines` with two of each order, so that
    /// `wrongOrders` finds any copy that is not of one moment.
    package static func createShop(_ path: String, journal: String = "wal", orders: Int = 2000) throws {
        try sql(
            path, "PRAGMA journal_mode=\(journal)", "PRAGMA user_version=7", "PRAGMA application_id=1279346757",
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT NOT NULL)",
            "CREATE TABLE lines (number INTEGER PRIMARY KEY, orderid INTEGER NOT NULL, text TEXT NOT NULL)",
            "CREATE INDEX linesoforder ON lines (orderid)",
            """
            WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < \(orders))
            INSERT INTO orders SELECT x, hex(randomblob(40)) FROM n
            """,
            "INSERT INTO lines SELECT 2 * id, id, hex(randomblob(60)) FROM orders",
            "INSERT INTO lines SELECT 2 * id + 1, id, hex(randomblob(60)) FROM orders")
    }

    /// Orders that do not have two lines, lines without an order, and transactions of the load that are half there: 0 in
    /// any state a reader may see.
    package static let wrongOrders = """
        SELECT (SELECT count(*) FROM orders o WHERE (SELECT count(*) FROM lines l WHERE l.orderid = o.id) <> 2)
        + (SELECT count(*) FROM lines l WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = l.orderid))
        + (SELECT (SELECT count(*) FROM lines) <> 2 * (SELECT count(*) FROM orders))
        """

    /// A program that adds an order and its lines, and changes old ones all over the file, one transaction after the
    /// other. `settings` are pragmas of its connection.
    package static func load(_ path: String, settings: [String] = [], pause: Double = 0) throws -> SQLiteLoad {
        let script = """
            import sqlite3, sys, time
            database = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
            for setting in sys.argv[3:]:
                database.execute("PRAGMA " + setting).fetchall()
            count = database.execute("SELECT max(id) FROM orders").fetchone()[0]
            while True:
                count += 1
                database.execute("BEGIN IMMEDIATE")
                database.execute("INSERT INTO orders VALUES (?, hex(randomblob(40)))", (count,))
                database.execute("INSERT INTO lines (orderid, text) VALUES (?, hex(randomblob(60)))", (count,))
                database.execute("UPDATE orders SET note = hex(randomblob(40)) WHERE id % 97 = ?", (count % 97,))
                database.execute("INSERT INTO lines (orderid, text) VALUES (?, hex(randomblob(60)))", (count,))
                database.execute("COMMIT")
                print(count, flush=True)
                time.sleep(float(sys.argv[2]))
            """
        return try SQLiteLoad(python(script, [path, "\(pause)"] + settings))
    }
}

/// A program that writes until it is killed.
package final class SQLiteLoad: Sendable {
    private let process: any RunningProcess
    private let output = Monitor((transactions: 0, isOver: false))
    private let reader: BlockingThread<Void>

    fileprivate init(_ command: ProcessCommand) throws {
        let process = try SystemProcessRunner().start(command, pipesInput: false, pipesOutput: true)
        let output = self.output
        self.process = process
        reader = BlockingThread(name: "sqlite-load") {
            defer { output.update { $0.isOver = true } }
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)
            defer { buffer.deallocate() }
            while true {
                let count = try process.read(into: buffer)
                if count == 0 { return }
                let lines = buffer[..<count].count { $0 == 0x0A }
                output.update { $0.transactions += lines }
            }
        }
    }

    package var transactions: Int { output.withLock { $0.transactions } }

    /// Blocks until so many more transactions were committed.
    package func awaitTransactions(_ count: Int) throws {
        let goal = transactions + count
        let isOver = output.wait { state -> Bool? in
            if state.transactions >= goal { return false }
            return state.isOver ? true : nil
        }
        if isOver { throw LifeboatError("the program that writes ended by itself") }
    }

    /// SIGKILL, in the middle of whatever it does.
    package func kill() {
        process.terminate(grace: 0)
        // What it says after that is of no use.
        _ = try? reader.join()
    }
}
