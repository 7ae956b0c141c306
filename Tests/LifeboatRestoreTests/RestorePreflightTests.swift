// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatRestore
import LifeboatStores
import LifeboatTesting
import Testing

struct RestorePreflightTests {
    /// Knows about its room, and nothing else.
    private struct RoomStore: DataStore {
        var room: StagingRoom?
        var stagesOnServer = true
        var kind: String { "room" }
        var subject: String { "room" }
        func stagingRoom(_ content: any RestoreContent) throws -> StagingRoom? { room }
        func preflightRestore(_ content: any RestoreContent) throws -> [LifeboatError] { [] }

        private var unasked: LifeboatError { LifeboatError("a preflight asks for more than it may") }
        func probe() throws -> StoreProbe { throw unasked }
        func fixPoint(_ cancellation: Cancellation) throws -> any CapturePoint { throw unasked }
        func planStaging(_ restoreID: String) throws -> StagedState { throw unasked }
        func stage(
            _ content: any RestoreContent, _ state: StagedState, progress: any ProgressSink,
            cancellation: Cancellation
        ) throws { throw unasked }
        func swap(_ state: StagedState) throws { throw unasked }
        func swapBack(_ state: StagedState) throws { throw unasked }
        func verify(_ content: any RestoreContent) throws -> [FactDifference] { throw unasked }
        func discard(_ state: StagedState) throws { throw unasked }
    }

    private func findings(_ stores: [String: RoomStore]) throws -> RestorePreflight.Findings {
        let fake = FakeStack(components: stores.keys.sorted())
        let stack = RestoreStack(name: "fake", stores: stores, services: nil, allServices: [], health: nil)
        return try RestorePreflight(stack: stack, fallsToInPlace: false)
            .run(try fake.plan(), fake.source, checksChunks: false, Cancellation())
    }

    @Test func roomThatCannotBeToldIsSaidInOneLine() throws {
        let room = StagingRoom(place: "/a", device: 1, needed: 5, free: 9)
        let found = try findings([
            "a": RoomStore(room: room), "b": RoomStore(), "c": RoomStore(stagesOnServer: false), "d": RoomStore(),
        ])
        #expect(found.problems == [])
        #expect(
            found.warnings == [
                "whether there is room to stage 'b', 'd' cannot be told: this host does not see where the server keeps its"
                    + " data"
            ])
        #expect(try findings(["a": RoomStore(room: room)]).warnings == [])
    }

    @Test func serversOnOneFileSystemAreCountedTogether() throws {
        let room = StagingRoom(place: "/a", device: 1, needed: 5, free: 9)
        let other = StagingRoom(place: "/b", device: 2, needed: 5, free: 9)
        #expect(try findings(["a": RoomStore(room: room), "b": RoomStore(room: other)]).problems == [])
        let problems = try findings(["a": RoomStore(room: room), "b": RoomStore(room: room)]).problems
        #expect(problems.map(\.message) == ["there is no room to stage 2 components on one file system"])
    }
}
