// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatRepository
import LifeboatRestore
import LifeboatStores
import Testing

struct RestorePlannerTests {
    private func request(
        snapshot components: [(name: String, store: String)] = [("database", "postgres"), ("documents", "volume")],
        policy: [(name: String, store: String)] = [("database", "postgres"), ("documents", "volume")]
    ) -> RestoreRequest {
        var manifest = Manifest(
            repositoryID: Digest(bigEndianWords: 1, 2, 3, 4), stack: "semantik", host: "here", sequence: 7,
            previous: nil, started: Timestamp(seconds: 1_700_000_000), lifeboat: "0")
        manifest.components = components.map {
            var component = Manifest.Component(name: $0.name, store: $0.store, source: "x", method: "y")
            component.bytes = 3 << 20
            component.files = 12
            return component
        }
        var request = RestoreRequest(
            id: "20261121t020000z-0badcafe", stack: "semantik",
            snapshot: Snapshot(id: Digest(bigEndianWords: 0xABCD, 6, 7, 8), manifest: manifest),
            targets: policy.map {
                RestoreRequest.Target(
                    name: $0.name, store: $0.store, subject: "\($0.store) '\($0.name)'",
                    staged: StagedState(["at": "beside"]))
            }, created: Timestamp(seconds: 1_700_000_100))
        request.services = "the services"
        request.healthProbes = 2
        return request
    }

    @Test func thePlanOfAStack() throws {
        let plan = try RestorePlanner.plan(request())
        #expect(
            plan.steps.map(\.summary) == [
                "verify that every chunk of 6.0 MiB is in the repository",
                "check that postgres 'database' can take the restored data",
                "check that volume 'documents' can take the restored data",
                "stage 3.0 MiB of 'database' beside postgres 'database', which stays in use",
                "stage 3.0 MiB of 'documents' beside volume 'documents', which stays in use",
                "stop the services",
                "exchange postgres 'database' and the staged data",
                "exchange volume 'documents' and the staged data",
                "start the services",
                "wait until 2 health probes pass",
                "compare postgres 'database' with the facts in the snapshot",
                "compare volume 'documents' with the facts in the snapshot",
                "remove what 'database' was before",
                "remove what 'documents' was before",
            ])
        #expect(Set(plan.steps.map(\.id)).count == plan.steps.count)
        #expect(
            plan.steps.filter(\.isDowntime).map(\.id) == [
                "stop-services", "swap:database", "swap:documents", "start-services", "await-health",
            ])
        #expect(plan.bytes == 6 << 20)
        #expect(plan.warnings == [])
    }

    @Test func aPlanSurvivesTheJournal() throws {
        let plan = try RestorePlanner.plan(request())
        let bytes = try CanonicalJSON.encode(plan)
        #expect(try CanonicalJSON.decode(RestorePlan.self, from: bytes) == plan)
    }

    @Test func onlyChosenComponentsAreRestored() throws {
        var request = request()
        request.selected = ["documents"]
        let plan = try RestorePlanner.plan(request)
        #expect(plan.components.map(\.name) == ["documents"])
        #expect(plan.steps.allSatisfy { $0.component == nil || $0.component == "documents" })
    }

    @Test func withoutServicesNothingIsStoppedOrStarted() throws {
        var request = request()
        request.services = nil
        request.healthProbes = 0
        let plan = try RestorePlanner.plan(request)
        #expect(!plan.steps.contains { [.stopServices, .startServices, .awaitHealth].contains($0.action) })
    }

    @Test func whatCannotBeRestoredIsRefusedBeforeAnythingIsTouched() throws {
        var other = request()
        other.stack = "another"
        #expect(throws: LifeboatError.self) { try RestorePlanner.plan(other) }

        var unknown = request()
        unknown.selected = ["queue"]
        let usage = try #require(throws: LifeboatError.self) { try RestorePlanner.plan(unknown) }
        #expect(usage.exitCode == .usage)

        let missing = try #require(throws: LifeboatError.self) {
            try RestorePlanner.plan(request(snapshot: [("database", "postgres")]))
        }
        #expect(missing.exitCode == .incomplete)

        let changed = try #require(throws: LifeboatError.self) {
            try RestorePlanner.plan(request(snapshot: [("database", "volume"), ("documents", "volume")]))
        }
        #expect(changed.message.contains("is a volume in snapshot"))

        #expect(throws: LifeboatError.self) { try RestorePlanner.plan(request(policy: [])) }
    }

    @Test func anIncompleteComponentIsRestoredOnlyWhenAllowed() throws {
        var request = request()
        request.snapshot.manifest.components[1].problems = ["2 files or folders could not be read as one state"]
        let refused = try #require(throws: LifeboatError.self) { try RestorePlanner.plan(request) }
        #expect(refused.exitCode == .incomplete)
        request.allowsIncomplete = true
        #expect(try RestorePlanner.plan(request).warnings.count == 1)
    }

    @Test func componentsThatThePolicyDoesNotHaveAreTold() throws {
        let plan = try RestorePlanner.plan(request(policy: [("documents", "volume")]))
        #expect(plan.warnings == ["component 'database' of the snapshot is not in the policy: it is not restored"])
    }

    @Test func idsAreNamesForDatabasesAndFolders() {
        let id = RestoreRequest.newID(Timestamp(seconds: 1_795_226_400))
        #expect(id.utf8.allSatisfy { (48...57).contains($0) || (97...122).contains($0) || $0 == 45 })
        #expect(id != RestoreRequest.newID(Timestamp(seconds: 1_795_226_400)))
    }

    @Test func aComponentRestoredInPartBindsNoCheckAndCountsAsWhatItIs() throws {
        var request = request()
        request.checks = [
            StackCheck(
                name: "rows", rule: .atLeast, values: [.component("database", .sql("select 1")), .number(1)]),
            StackCheck(
                name: "both", rule: .atLeast,
                values: [.component("database", .sql("select 1")), .component("documents", .files("*"))]),
        ]
        request.snapshot.manifest.checks = request.checks.map {
            CheckResult(name: $0.name, rule: "at_least", percent: nil, values: [], holds: true)
        }
        #expect(try RestorePlanner.plan(request).checks?.map(\.isRequired) == [true, true])
        request.targets[1].parts = ["reports"]
        request.targets[1].amount = RestoreRequest.Amount(bytes: 10, files: 1)
        request.policyTargets = [RestorePlan.Target(key: "database.port", value: "1")]
        let plan = try RestorePlanner.plan(request)
        #expect(plan.checks?.map(\.isRequired) == [true, false])
        #expect(plan.bytes == (3 << 20) + 10 && plan.component("documents")?.parts == ["reports"])
        #expect(plan.component("documents")?.files == 1 && plan.targets?.map(\.text) == ["database.port=1"])
        request.inPlace = ["documents"]
        request.targets[1].canWriteInPlace = true
        #expect(throws: LifeboatError.self) { try RestorePlanner.plan(request) }
    }

    @Test func partsOverlapByTheirPaths() {
        func component(_ parts: [String]?, _ name: String = "documents") -> RestorePlan.Component {
            RestorePlan.Component(
                name: name, store: "volume", subject: "", bytes: 0, files: 0, staged: StagedState([:]), parts: parts)
        }
        #expect(component(nil).overlaps(component(["a"])) && component(["a"]).overlaps(component(nil)))
        #expect(component(["a", "b/c"]).overlaps(component(["b"])) && component(["b"]).overlaps(component(["b/c"])))
        #expect(!component(["a"]).overlaps(component(["ab", "b"])))
        #expect(!component(nil).overlaps(component(nil, "media")))
    }
}
