// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatStores
import Testing

/// The parts of the PostgreSQL store that only look at text.
@Suite struct PostgresTextTests {
    @Test func scriptsAreSplitIntoStatements() {
        let script = #"""
            \restrict lifeboat
            -- a comment; with a semicolon
            SET a = 'x;''y'; CREATE ROLE "odd; ""name";
            ALTER ROLE e SET x TO E'back\';slash';
            DO $tag$ BEGIN; $$ nested; $$ END; $tag$; SELECT $1;
            /* a /* nested; */ comment; */ SELECT a$b;
            \unrestrict lifeboat
            """#
        #expect(
            SQLStatements.split(script) == [
                "SET a = 'x;''y'", #"CREATE ROLE "odd; ""name""#, #"ALTER ROLE e SET x TO E'back\';slash'"#,
                "DO $tag$ BEGIN; $$ nested; $$ END; $tag$", "SELECT $1", "SELECT a$b",
            ])
        // Cut anywhere it must neither trap nor hang.
        for cut in 0...script.utf8.count {
            _ = SQLStatements.split(String(decoding: script.utf8.prefix(cut), as: UTF8.self))
        }
    }

    @Test func statementsNameTheRolesTheyAreAbout() {
        #expect(PostgresGlobals.concernedRoles(#"CREATE ROLE "a ""b""#) == [#"a "b"#])
        #expect(PostgresGlobals.concernedRoles("ALTER ROLE app WITH NOSUPERUSER PASSWORD 'x'") == ["app"])
        #expect(PostgresGlobals.concernedRoles("GRANT readers TO app GRANTED BY postgres") == ["app", "readers"])
        #expect(PostgresGlobals.concernedRoles("COMMENT ON ROLE app IS 'x'") == ["app"])
        #expect(PostgresGlobals.concernedRoles("CREATE TABLESPACE fast OWNER app LOCATION '/x'") == nil)
        #expect(PostgresGlobals.concernedRoles("SET standard_conforming_strings = on") == nil)
    }

    @Test func settingListsAreTakenApart() {
        #expect(
            PostgresSettings.Setting.names(in: #""$user", public, "odd "" one""#) == ["$user", "public", #"odd " one"#])
        #expect(PostgresSettings.Setting.names(in: "") == [])
    }

    @Test func namesAreQuotedOnlyWhenNeeded() {
        #expect(PostgresNames.shown("public", "documents_2") == "public.documents_2")
        #expect(PostgresNames.shown("Public", "1st") == #""Public"."1st""#)
        #expect(PostgresNames.shown("") == #""""#)
        #expect(PostgresNames.fitted("app", "_x") == "app_x")
        // 26 times two bytes, and the digest of all 40.
        #expect(
            PostgresNames.fitted(String(repeating: "é", count: 40), "_x")
                == String(repeating: "é", count: 26) + "_37419194_x")
    }

    @Test func versionsAreReadAndCompared() {
        #expect(PostgresVersion("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n") == .init(major: 15, minor: 18))
        #expect(PostgresVersion("pg_dump (PostgreSQL) 19beta1") == .init(major: 19))
        #expect(PostgresVersion("no number here") == nil)
        #expect(PostgresExtensions.isOlder("0.6.2", than: "0.10"))
        #expect(!PostgresExtensions.isOlder("1.3", than: "1.3.0"))
        #expect(!PostgresExtensions.isOlder("unpackaged", than: "1.0"))
    }

    @Test func refusalsAreReadFromTheVerboseForm() {
        let text = """
            connection to server at "127.0.0.1", port 5432 failed: FATAL:  28P01: password authentication failed: x
            LOCATION:  auth_failed, auth.c:338

            """
        #expect(
            PostgresConnection.refusal(text)
                == PostgresMessage(
                    sqlState: "28P01", severity: "FATAL", message: "password authentication failed: x"))
        #expect(PostgresConnection.refusal("connection to server failed: Connection refused\n\tIs it running?") == nil)
    }

    @Test func connectionStringsQuoteEveryValue() {
        let endpoint = PostgresEndpoint(host: "/run/pg", port: 1, user: "o'b\\x", password: Secret("canary"))
        #expect(
            endpoint.connectionString("a=b postgres://x")
                == #"host='/run/pg' port='1' user='o\'b\\x' dbname='a=b postgres://x' application_name='lifeboat'"#)
    }

    @Test func sequencesMayBeAheadButNotBehind() {
        let up = PostgresFacts.Sequence(lastValue: "10", increment: 1)
        #expect(up.isNotBehind("9") && up.isNotBehind("10") && up.isNotBehind("unused") && !up.isNotBehind("11"))
        let down = PostgresFacts.Sequence(lastValue: "10", increment: -2)
        #expect(down.isNotBehind("12") && !down.isNotBehind("8"))
        #expect(!PostgresFacts.Sequence(lastValue: "unused", increment: 1).isNotBehind("1"))
    }
}

@Suite struct PostgresContainerTextTests {
    @Test func theEndpointLeavesItsHostOutInsideAContainer() {
        let endpoint = PostgresEndpoint(
            host: "127.0.0.1", port: 15432, user: "u", sslMode: "require", container: ServerContainer(.name("pg")))
        #expect(endpoint.connectionString("app") == "user='u' dbname='app' application_name='lifeboat'")
        #expect(endpoint.address == "127.0.0.1:15432")
        let unnamed = PostgresEndpoint(
            host: "", user: "u", container: ServerContainer(.service("db", project: "shop")))
        #expect(unnamed.address == "service 'db' of project 'shop'")
    }

    /// What `docker inspect` of engines 20 to 29 says of a container, shortened.
    @Test(arguments: [
        (
            #"[{"NetworkSettings":{"Ports":{"5432/tcp":[{"HostIp":"0.0.0.0","HostPort":"15432"}]},"Networks":{}}}]"#,
            "127.0.0.1:15432"
        ),
        (
            #"[{"NetworkSettings":{"Ports":{"5432/tcp":[{"HostIp":"10.0.0.5","HostPort":"5433"},{"HostIp":"::","HostPort":"5433"}]}}}]"#,
            "10.0.0.5:5433"
        ),
        (
            #"[{"NetworkSettings":{"Ports":{"5432/tcp":null},"Networks":{"b":{"IPAddress":"172.18.0.2"},"a":{"IPAddress":""}}}}]"#,
            "172.18.0.2:5432"
        ),
        (#"[{"NetworkSettings":{"Ports":{}},"HostConfig":{"NetworkMode":"host"}}]"#, "127.0.0.1:5432"),
        (#"[{"NetworkSettings":{"Networks":{"none":{"IPAddress":""}}}}]"#, "nowhere"),
        ("[]", "nowhere"), ("nonsense", "unreadable"),
    ])
    func whereAContainerIs(inspection: String, expected: String) throws {
        let found: String
        do {
            found =
                try ServerContainer.Inspection.address(in: inspection, serverPort: 5432).map {
                    "\($0.host):\($0.port)"
                }
                ?? "nowhere"
        } catch { found = "unreadable" }
        #expect(found == expected)
    }
}
