// SPDX-License-Identifier: Apache-2.0

import Foundation
import LifeboatCore
import LifeboatPolicy
import LifeboatTesting
import Testing

@Suite struct PolicyParserTests {
    static let full = """
        stack: semantik
        repository: backups/semantik
        encryption: none
        services:
          freeze: none
          commands:
            stop:
              - systemctl stop 'my api'
              - [./bin/stop, --all]
            start: "./bin/start \\"a b\\" c\\\\d"
            status: ["systemctl is-active api"]
        components:
          database:
            postgres: {host: db.local, port: 5433, database: semantik, user: sem, password: {file: secrets/pg},
              sslmode: verify-full, binaries: /usr/lib/postgresql/15/bin, globals: false, maintenance_database: template1}
          documents: {volume: {path: ./data//docs/, exclude: ["*.tmp", 'a/**'], exclude_caches: true, one_file_system: false}}
        health:
          - {name: ready, http: "http://127.0.0.1:8080/ready", status: 204, field: "checks[0].ok", equals: true, within: 1h30m,
             interval: 500ms, consecutive: 3}
          - {tcp: "[::1]:5432"}
          - {command: [./check, --quick], within: 15m}
          - {postgres: database, sql: "select 1", equals: 1}
          - {postgres: database}
        retention: {last: 3, hourly: 0, daily: 7, weekly: 4, monthly: 12, yearly: 2, within: 48h,
          timezone: America/Argentina/Buenos_Aires}
        objectives: {rto: 4h, rpo: 7d}
        drill: {sandbox: compose, folder: ./drills, sample: 12.5%}
        guard: {least: 12.5%, except: [database]}
        """

    @Test func `every key of this version is read`() throws {
        let policy = try PolicyParser.parse(Self.full, source: "/etc/x.yaml", folder: "/etc/lifeboat")
        let expected = Policy(
            stack: "semantik", repository: "/etc/lifeboat/backups/semantik",
            services: ServicesPolicy(
                control: .commands(
                    stop: [["systemctl", "stop", "my api"], ["/etc/lifeboat/bin/stop", "--all"]],
                    start: [["/etc/lifeboat/bin/start", "a b", "cd"]],
                    status: [["systemctl", "is-active", "api"]])),
            components: [
                ComponentPolicy(
                    name: "database",
                    store: .postgres(
                        PostgresPolicy(
                            host: "db.local", port: 5433, databases: .one("semantik"), user: "sem",
                            password: .file("/etc/lifeboat/secrets/pg"), sslMode: "verify-full",
                            binaries: "/usr/lib/postgresql/15/bin", globals: false, maintenanceDatabase: "template1"))),
                ComponentPolicy(
                    name: "documents",
                    store: .volume(
                        VolumePolicy(
                            path: "/etc/lifeboat/data/docs", exclude: ["*.tmp", "a/**"], excludeCaches: true,
                            oneFileSystem: false))),
            ],
            health: [
                HealthProbePolicy(
                    name: "ready",
                    question: .http(
                        url: "http://127.0.0.1:8080/ready", status: 204, field: "checks[0].ok", equals: "true"),
                    within: 5400, interval: 0.5, consecutive: 3),
                HealthProbePolicy(question: .tcp(host: "::1", port: 5432)),
                HealthProbePolicy(question: .command(["/etc/lifeboat/check", "--quick"]), within: 900),
                HealthProbePolicy(question: .postgres(component: "database", sql: "select 1", equals: "1")),
                HealthProbePolicy(question: .postgres(component: "database", sql: "select 1", equals: nil)),
            ],
            retention: RetentionPolicy(
                last: 3, hourly: 0, daily: 7, weekly: 4, monthly: 12, yearly: 2, within: 172_800,
                timezone: "America/Argentina/Buenos_Aires"),
            objectives: ObjectivesPolicy(rto: 14_400, rpo: 604_800),
            drill: DrillPolicy(sandbox: .compose, folder: "/etc/lifeboat/drills", sample: 12.5),
            shrinkGuard: GuardPolicy(least: 12.5, except: ["database"]),
            source: "/etc/x.yaml", folder: "/etc/lifeboat",
            text: Self.full)
        #expect(policy == expected)
    }

    @Test func `a guard is there unless it is off`() throws {
        func read(_ line: String) throws -> GuardPolicy? {
            let text = "stack: a\nrepository: /r\nencryption: none\ncomponents: {d: {volume: {path: /d}}}\n\(line)\n"
            return try PolicyParser.parse(text, source: nil, folder: "/p").shrinkGuard
        }
        #expect(try read("") == GuardPolicy(least: 20))
        #expect(try read("guard: 100%") == GuardPolicy(least: 100))
        #expect(try read("guard: {except: [d]}") == GuardPolicy(least: 20, except: ["d"]))
        #expect(try read("guard: off") == nil)
    }

    @Test func `redis and command are read`() throws {
        let text = """
            stack: a
            repository: /r
            encryption: none
            components:
              queue: {redis: {host: h, port: 7000, container: stack-redis-1, user: u, password: {env: P}, data: ./redis,
                tls: {ca: ca.pem, certificate: c.pem, key: k.pem}, transfer: bgsave}}
              local: {redis: {socket: /run/redis.sock}}
              plain: {redis: {tls: true}}
              etcd: {command: {capture: etcdctl snapshot save /dev/stdout, restore: [./take, --all], minimum: 1.5 KiB,
                environment: {TOKEN: {file: t}}, keep_old: false}}
            """
        let policy = try PolicyParser.parse(text, source: nil, folder: "/p")
        let expected: [StorePolicy] = [
            .redis(
                RedisPolicy(
                    host: "h", port: 7000, container: .name("stack-redis-1"), user: "u", password: .environment("P"),
                    tls: RedisPolicy.TLS(authority: "/p/ca.pem", certificate: "/p/c.pem", key: "/p/k.pem"),
                    data: "/p/redis", transfer: .bgsave)),
            .redis(RedisPolicy(socket: "/run/redis.sock")), .redis(RedisPolicy(tls: RedisPolicy.TLS())),
            .command(
                CommandPolicy(
                    capture: ["etcdctl", "snapshot", "save", "/dev/stdout"], restore: ["/p/take", "--all"],
                    minimum: 1536, environment: ["TOKEN": .file("/p/t")], keepsOld: false)),
        ]
        #expect(policy.components.map(\.store) == expected)
    }

    @Test(arguments: [
        ("{env: PG_PASS}", SecretReference.environment("PG_PASS")), ("{file: pw}", .file("/p/pw")),
        ("{file: /run/pw}", .file("/run/pw")), ("{command: [pass, show, db]}", .command(["pass", "show", "db"])),
        ("{command: \"pass show 'my db'\"}", .command(["pass", "show", "my db"])),
        ("{credential: db}", .credential("db")),
    ]) func `secrets are references`(_ written: String, _ expected: SecretReference) throws {
        let text = """
            stack: a
            repository: /r
            encryption: none
            components: {d: {postgres: {database: x, password: \(written)}}}
            """
        let policy = try PolicyParser.parse(text, source: nil, folder: "/p")
        #expect(policy.components[0].store == .postgres(PostgresPolicy(databases: .one("x"), password: expected)))
    }

    @Test func `line ends, a byte order mark and quoting change nothing`() throws {
        let plain = try PolicyParser.parse(Self.full, source: nil, folder: "/p")
        for text in [Self.full.replacingOccurrences(of: "\n", with: "\r\n"), "\u{FEFF}" + Self.full] {
            var policy = try PolicyParser.parse(text, source: nil, folder: "/p")
            policy.text = Self.full
            #expect(policy == plain)
        }
    }

    @Test func `a starter policy is valid whatever it is made for`() throws {
        let values = [
            "/var/backups/x", "./räum e", "quo\"te'\\n", "# no comment", "a: b", "*star", "&and", "{brace", "-dash",
            "null", "line\nbreak\ttab\u{7F}\u{85}\u{2028}", "no", "@at", "%p", "!tag", "1e3",
        ]
        for value in values {
            let text = StarterPolicy.text(
                stack: StarterPolicy.stackName(from: value), repository: "/backup/\(value)", volume: "/data/\(value)",
                database: .init(
                    name: value, user: value, host: value, port: 5432, passwordVariable: "POSTGRES_PASSWORD"))
            let policy = try PolicyParser.parse(text, source: nil, folder: "/p")
            #expect(policy.components.count == 2)
            guard case .volume(let volume) = policy.components[0].store,
                case .postgres(let postgres) = policy.components[1].store
            else {
                Issue.record("unexpected stores")
                continue
            }
            #expect(volume.path == policy.repository.replacingOccurrences(of: "/backup/", with: "/data/"))
            #expect(postgres.database == value)
            #expect(postgres.user == value && postgres.host == value)
        }
        let plain = StarterPolicy.text(stack: "demo", repository: "/r")
        #expect(try PolicyParser.parse(plain, source: nil, folder: "/p").components.count == 1)
    }

    @Test func `what a starter policy shows in comments is valid too`() throws {
        var text = StarterPolicy.text(stack: "demo", repository: "/r")
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        // Commented keys begin with a key or a list item; prose begins with a capital or has no colon after one word.
        for index in lines.indices {
            let line = lines[index]
            guard let hash = line.firstIndex(of: "#") else { continue }
            let rest = line[line.index(after: hash)...].drop { $0 == " " }
            let key = rest.prefix { $0.isLowercase || $0 == "_" }
            guard rest.hasPrefix("- {") || (!key.isEmpty && rest.dropFirst(key.count).hasPrefix(":")) else { continue }
            guard line[..<hash].allSatisfy({ $0 == " " }) else { continue }
            lines[index] = String(line[..<hash]) + line[line.index(after: hash)...].dropFirst()
        }
        text = lines.joined(separator: "\n")
        let policy = try PolicyParser.parse(text, source: nil, folder: "/p")
        #expect(policy.components.map(\.name) == ["documents", "database"])
        #expect(policy.health.count == 5)
        #expect(policy.services.control != nil)
    }

    @Test func `every file in the policies folder is valid`() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "policies")
        let names = try FileManager.default.contentsOfDirectory(atPath: root.path).filter { $0.hasSuffix(".yaml") }
        #expect(!names.isEmpty)
        for name in names {
            let text = try String(contentsOf: root.appending(path: name), encoding: .utf8)
            _ = try PolicyParser.parse(text, source: name, folder: root.path)
        }
    }

    @Test func `stack names are made from any text`() {
        #expect(StarterPolicy.stackName(from: "My App (new)") == "my-app-new")
        #expect(StarterPolicy.stackName(from: "..") == "stack")
        #expect(StarterPolicy.stackName(from: "9.x_y") == "9.x_y")
        #expect(StarterPolicy.stackName(from: String(repeating: "a", count: 90)).count == 64)
    }

    @Test func `cron fields mean what crontab says`() throws {
        let cron = try CronExpression("*/20 0-6/3 1,15 jan,DEC 0,7,fri")
        #expect(cron.minutes == [0, 20, 40])
        #expect(cron.hours == [0, 3, 6])
        #expect(cron.daysOfMonth == [1, 15])
        #expect(cron.months == [1, 12])
        #expect(cron.daysOfWeek == [0, 5])
        #expect(try CronExpression("0 0 29 2 *").daysOfMonth == [29])
        for bad in [
            "", "* * * *", "60 * * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "a * * * *", "1- * * * *",
            "*/0 * * * *", "1,,2 * * * *", "-1 * * * *", "0 0 30 feb *", "0 0 31 4,6 *", "1/2/3 * * * *", "٣ * * * *",
        ] {
            #expect(throws: CronExpression.Problem.self) { try CronExpression(bad) }
        }
    }

    @Test(arguments: [UInt64(1), 2, 3, 4]) func `mutations of a good policy never trap`(_ seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let good = Array(Self.full.utf8)
        let snippets = [
            "{", "}", "[", "]", ": ", "- ", "&a ", "*a", "!!x ", "\n", "\t", "\"", "'", "|\n", "? ", "<<: ", "---\n",
            "~",
            "\u{0}", "\u{F8FF}", "ä", "é", "\r", "# ", "stack: b\n", "99999999999999999999", "path: /x\n",
        ].map { Array($0.utf8) }
        for _ in 0..<400 {
            var bytes = good
            for _ in 0...Int(random.next() % 6) {
                let at = Int(random.next() % UInt64(bytes.count))
                switch random.next() % 4 {
                case 0: bytes[at] = UInt8(truncatingIfNeeded: random.next())
                case 1: bytes.removeSubrange(at..<min(bytes.count, at + Int(random.next() % 20) + 1))
                case 2: bytes.insert(contentsOf: snippets[Int(random.next() % UInt64(snippets.count))], at: at)
                default:
                    let from = Int(random.next() % UInt64(bytes.count))
                    bytes.insert(contentsOf: bytes[from..<min(bytes.count, from + 40)], at: at)
                }
                if bytes.isEmpty { bytes = good }
            }
            let text = String(decoding: bytes, as: UTF8.self)
            do throws(PolicyDiagnostics) {
                _ = try PolicyParser.parse(text, source: nil, folder: "/p")
            } catch {
                #expect(!error.diagnostics.isEmpty, "seed \(seed)")
                let lines = text.utf8.count { $0 == 10 || $0 == 13 || $0 > 127 } + 2
                #expect(error.diagnostics.allSatisfy { $0.location.line <= lines }, "seed \(seed)")
            }
        }
    }

    @Test func `postgres components name one, several or all databases, and the container of the server`() throws {
        func postgres(_ text: String) throws -> PostgresPolicy? {
            let policy = try PolicyParser.parse(
                "stack: demo\nrepository: /r\nencryption: none\ncomponents: {a: {postgres: {\(text)}}}\n",
                source: nil, folder: "/")
            guard case .postgres(let found) = policy.components[0].store else { return nil }
            return found
        }
        #expect(try postgres("database: app") == PostgresPolicy(databases: .one("app")))
        #expect(try postgres("database: \"*\", jobs: 4") == PostgresPolicy(databases: .all, jobs: 4))
        #expect(
            try postgres("databases: [b, a, postgres]") == PostgresPolicy(databases: .several(["b", "a", "postgres"])))
        #expect(
            try postgres("database: app, container: pg-1")
                == PostgresPolicy(databases: .one("app"), container: .name("pg-1")))
        #expect(
            try postgres("database: app, service: db, project: shop")
                == PostgresPolicy(databases: .one("app"), container: .service("db", project: "shop")))
    }

    @Test func `databases and models may lie inside of a volume`() throws {
        let policy = try PolicyParser.parse(
            """
            stack: demo
            repository: /r
            encryption: none
            components:
              files: {volume: {path: ./data, allow_live_databases: true}}
              shop: {sqlite: {path: ./data/app.db}}
              models: {models: {path: ./data/models, layout: huggingface, keep: manifest}}
              more: {models: {path: /var/models}}
            """, source: nil, folder: "/srv")
        #expect(
            policy.components.map(\.store) == [
                .volume(VolumePolicy(path: "/srv/data", allowLiveDatabases: true)),
                .sqlite(SQLitePolicy(path: "/srv/data/app.db")),
                .models(ModelsPolicy(path: "/srv/data/models", layout: .huggingface, keep: .manifest)),
                .models(ModelsPolicy(path: "/var/models")),
            ])
    }
}
