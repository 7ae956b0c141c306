// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO
import LifeboatTesting
import Testing

/// The built program, a Redis server with an append-only file and a password that its services start and stop, and
/// beside it a file that programs read and write.
@Suite(.enabled(if: RedisServer.shouldRun([.redis7]), "needs Redis (scripts/setup)"))
struct RedisScenarioTests {
    private struct Stack {
        let folder: ScenarioFolder
        let password = "redis-canary-4242"

        init() throws {
            // Unix sockets have short paths.
            folder = try ScenarioFolder(inMemory: false)
            let program = try RedisServer.installed(.redis7)
            try FileTree.createFolders("\(folder.path)/data")
            try AtomicFile.write(
                """
                port 0
                unixsocket \(folder.path)/socket
                dir \(folder.path)/data
                appendonly yes
                save 3600 1
                requirepass \(password)
                enable-debug-command yes
                daemonize yes
                logfile \(folder.path)/log

                """, to: "\(folder.path)/redis.conf")
            try AtomicFile.write(
                """
                export REDISCLI_AUTH=\(password)
                client() { redis-cli -s '\(folder.path)/socket' "$@"; }
                case $1 in
                stop)
                    process=$(client info server | sed -n 's/^process_id:\\([0-9]*\\).*/\\1/p')
                    client shutdown >/dev/null
                    while kill -0 "$process" 2>/dev/null; do sleep 0.05; done ;;
                start)
                    '\(program)' '\(folder.path)/redis.conf'
                    until [ "$(client ping 2>/dev/null)" = PONG ]; do sleep 0.05; done ;;
                status) [ "$(client ping 2>/dev/null)" = PONG ] ;;
                *) client "$@" ;;
                esac
                """, to: "\(folder.path)/service")
            try AtomicFile.write("\(password)\n", to: "\(folder.path)/password")
            try folder.createRepository()
            try writePolicy()
            try redis("start")
        }

        func writePolicy(services: Bool = true, health: String = "{command: [sh, ./service, status], within: 20s}")
            throws
        {
            let control = """
                services:
                  commands: {stop: [[sh, ./service, stop]], start: [[sh, ./service, start]], status: [[sh, ./service, status]]}

                """
            try AtomicFile.write(
                """
                stack: cache
                repository: ./repository
                encryption: none
                \(services ? control : "")components:
                  queue: {redis: {socket: ./socket, password: {file: ./password}}}
                  notes:
                    command:
                      capture: [cat, notes]
                      restore: [sh, -c, "cat >notes"]
                      minimum: 3B
                      environment: {TOKEN: {file: ./password}}
                health:
                  - \(health)

                """, to: "\(folder.path)/lifeboat.yaml")
        }

        func remove() {
            _ = try? redis("stop")
            folder.remove()
        }

        @discardableResult
        func redis(_ words: String) throws -> String {
            try folder.shell("cd '\(folder.path)' && sh ./service \(words)")
        }

        /// All data says this.
        func setWord(_ word: String) throws {
            try redis("flushall")
            try folder.shell(
                """
                cd '\(folder.path)'; printf '%s' '\(word)' >notes
                for n in $(seq 200); do echo "SET key:$n '\(word) $n'"; echo "RPUSH list '\(word) $n'"; done >commands
                echo "SELECT 5" >>commands; echo "HSET hash word '\(word)'" >>commands
                echo "SET session '\(word)' PX 10000000" >>commands
                sh ./service <commands >/dev/null
                """)
        }

        /// What all data says, or what is wrong with it.
        func word() throws -> String {
            let word = try folder.shell("cat '\(folder.path)/notes'")
            let hash = try redis("-n 5 hget hash word")
            let keys = try redis("get key:7")
            let last = try redis("lindex list -1")
            let sizes = try redis("dbsize") + " " + redis("-n 5 dbsize") + " " + redis("llen list")
            guard hash == word, keys == "\(word) 7", last == "\(word) 200", sizes == "201 2 200" else {
                return "mixed: \(word), \(hash), \(keys), \(last), \(sizes)"
            }
            return word
        }
    }

    @Test func `a lost queue comes back whole`() throws {
        let stack = try Stack()
        defer { stack.remove() }
        try stack.setWord("old")
        let digest = try stack.redis("debug digest")
        let backup = try stack.folder.succeed("backup")
        let shown = try stack.folder.succeed("show", "latest")
        #expect(shown.output.contains("keys:db0"), "\(shown)")
        try stack.setWord("new")
        let restore = try stack.folder.lifeboat("restore", "latest", "--yes")
        #expect(restore.exit == 0, "\(restore)")
        #expect(try stack.word() == "old")
        #expect(try stack.redis("debug digest") == digest)
        #expect(try stack.redis("config get appendonly") == "appendonly\nyes")
        // And after one more start, from the append-only file alone.
        try stack.redis("stop")
        unlink("\(stack.folder.path)/data/dump.rdb")
        try stack.redis("start")
        #expect(try stack.redis("debug digest") == digest)
        // Gone with all it had on disk.
        try stack.redis("stop")
        try FileTree.remove("\(stack.folder.path)/data")
        try FileTree.createFolders("\(stack.folder.path)/data")
        let refused = try stack.folder.lifeboat("restore", "latest", "--yes")
        #expect(refused.exit == 1 && refused.error.contains("'data'"), "\(refused)")
        try stack.folder.shell(
            "cd '\(stack.folder.path)' && sed -i 's/socket: .\\/socket,/&  data: .\\/data,/' lifeboat.yaml")
        let again = try stack.folder.lifeboat("restore", "latest", "--yes")
        #expect(again.exit == 0, "\(again)")
        #expect(try stack.redis("debug digest") == digest)
        let left = try stack.folder.shell("cd '\(stack.folder.path)' && ls data state/staged")
        #expect(!left.contains("lifeboat-") && !left.contains("-notes"), "\(left)")
        for run in [backup, shown, restore, refused, again] { #expect(!run.description.contains(stack.password)) }
        let found = try stack.folder.shell(
            "cd '\(stack.folder.path)' && grep -rl \(stack.password) repository state cache || :")
        #expect(found.isEmpty)
    }

    @Test func `a stack that does not come up has its own data back`() throws {
        let stack = try Stack()
        defer { stack.remove() }
        try stack.setWord("old")
        try stack.folder.succeed("backup")
        try stack.setWord("new")
        try stack.writePolicy(
            health:
                "{command: [sh, -c, \"[ $(sh ./service get key:1 | cut -d' ' -f1) = new ]\"], within: 6s, interval: 200ms}"
        )
        let failed = try stack.folder.lifeboat("restore", "latest", "--yes")
        #expect(failed.exit == 14, "\(failed)")
        #expect(try stack.word() == "new")
        // Services that are nobody's business keep the server up: nothing is exchanged.
        try stack.writePolicy(services: false)
        let running = try stack.folder.lifeboat("restore", "latest", "--yes")
        #expect(running.exit != 0 && running.error.contains("still runs"), "\(running)")
        #expect(try stack.word() == "new")
        let left = try stack.folder.shell("cd '\(stack.folder.path)' && ls data")
        #expect(!left.contains("lifeboat-"), "\(left)")
    }

    @Test func `killed at any rename, it is finished or undone by the next run`() throws {
        let stack = try Stack()
        defer { stack.remove() }
        try stack.setWord("old")
        try stack.folder.succeed("backup")
        try stack.setWord("new")
        var words: Set<String> = []
        for position in stride(from: 3, through: 200, by: 6) {
            let (run, hit) = try stack.folder.lifeboat(
                ["restore", "latest", "--yes"], fault: ScenarioFault(.kill, at: position, of: ["rename"]))
            if !hit.isEmpty {
                let resumed = try stack.folder.lifeboat("restore", "--resume")
                #expect(resumed.exit == 0 || resumed.error.contains("no restore"), "at \(hit): \(resumed)")
            }
            if try !stack.folder.shell("cd '\(stack.folder.path)'; sh ./service status || echo down").isEmpty {
                Issue.record("the services are down after '\(hit)': \(run)")
                break
            }
            let word = try stack.word()
            #expect(word == "old" || word == "new", "at '\(hit)': \(run)")
            words.insert(word)
            if word == "old" { try stack.setWord("new") }
            if hit.isEmpty { break }
        }
        #expect(words == ["old", "new"])
        let left = try stack.folder.shell("cd '\(stack.folder.path)' && ls data")
        #expect(!left.contains("lifeboat-"), "\(left)")
    }
}
