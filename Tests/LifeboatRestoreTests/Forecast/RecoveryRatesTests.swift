// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatRestore
import Testing

struct RecoveryRatesTests {
    private func measured(
        _ bytes: UInt64, _ seconds: Double, at time: Int64 = 0, stack: String = "shop", phase: String = "stage",
        component: String? = "database", store: String? = "postgres"
    ) -> PhaseMeasurement {
        PhaseMeasurement(
            stack: stack, phase: phase, component: component, store: store, bytes: bytes, seconds: seconds,
            time: Timestamp(seconds: 1_700_000_000 + time), origin: .restore)
    }

    private func estimate(
        _ measurements: [PhaseMeasurement], bytes: UInt64, component: String = "database"
    ) -> PhaseEstimate {
        RecoveryRates(measurements).estimate(
            "stage", stack: "shop", component: component, store: "postgres", bytes: bytes)
    }

    @Test func withoutMeasurementsTheStatedAssumptionsCount() {
        let found = estimate([], bytes: 140_000_000)
        #expect(found == PhaseEstimate(seconds: 12, basis: .assumed, measurements: 0))
    }

    @Test func sizesThatDifferTellTheFixedCostFromTheRate() {
        // 4 s, and 10 MB/s.
        let found = estimate(
            [measured(10_000_000, 5), measured(100_000_000, 14), measured(200_000_000, 24)], bytes: 1_000_000_000)
        #expect(abs(found.seconds - 104) < 0.001)
        #expect(found.basis == .component && found.measurements == 3)
    }

    @Test func equalSizesKeepTheAssumedFixedCost() {
        let found = estimate([measured(100, 12), measured(100, 12), measured(100, 90)], bytes: 200)
        #expect(abs(found.seconds - 22) < 0.001)
    }

    @Test func aSlowRunAmongSeveralDoesNotBendTheLine() {
        // 3 s and 10 MB/s, a few percent up and down, three runs of each size; once the host was busy.
        let runs: [(size: UInt64, seconds: [Double])] = [
            (10_000_000, [4.1, 3.9, 4.0]), (20_000_000, [5.1, 25, 4.9]), (40_000_000, [6.8, 7.1, 7.0]),
        ]
        let all = runs.flatMap { run in run.seconds.map { measured(run.size, $0) } }
        let found = estimate(all, bytes: 320_000_000)
        #expect(abs(found.seconds / 35 - 1) < 0.1, "\(found)")
        // The same without a second or third run still comes close enough where nothing disturbed it.
        let single = [measured(10_000_000, 4.1), measured(20_000_000, 4.9), measured(40_000_000, 7.1)]
        #expect(abs(estimate(single, bytes: 80_000_000).seconds / 11 - 1) < 0.25)
    }

    @Test func whatIsNearlyAllFixedCostIsNotBlownUp() {
        // 20 ms up or down of two seconds must not become a rate.
        let all = [(1, 2.02), (2, 1.99), (4, 2.01), (1, 2.0), (2, 2.01), (4, 2.02)].map {
            measured(UInt64($0.0) * 1_000_000, $0.1)
        }
        let found = estimate(all, bytes: 80_000_000)
        #expect(found.seconds < 2.6, "\(found)")
    }

    @Test func neitherPartGoesBelowZero() {
        // Larger went faster: the size explains nothing.
        let faster = estimate([measured(100, 20), measured(1000, 10)], bytes: 1_000_000)
        #expect(abs(faster.seconds - 15) < 0.001)
        // A line through these would start below zero.
        let steep = estimate([measured(100, 1), measured(1000, 100)], bytes: 0)
        #expect(steep.seconds == 0)
    }

    @Test func aComponentThatWasNeverRestoredIsLikeOthersOfItsKind() {
        let found = estimate([measured(1000, 12)], bytes: 1000, component: "other")
        #expect(found == PhaseEstimate(seconds: 12, basis: .store, measurements: 1))
    }

    @Test func servicesOfAnotherStackSayNothing() {
        let other = measured(0, 99, stack: "elsewhere", phase: "stop-services", component: nil, store: nil)
        let found = RecoveryRates([other]).estimate("stop-services", stack: "shop", bytes: 0)
        #expect(found.basis == .assumed)
        let own = measured(0, 7, phase: "stop-services", component: nil, store: nil)
        #expect(RecoveryRates([other, own]).estimate("stop-services", stack: "shop", bytes: 0).seconds == 7)
    }

    @Test func onlyTheNewestCount() {
        let old = (0..<20).map { measured(1000, 1000, at: Int64($0)) }
        let new = (0..<RecoveryRates.window).map { measured(1000, 12, at: 100 + Int64($0)) }
        #expect(estimate(new + old, bytes: 1000).seconds == 12)
    }

    @Test func piecesSideBySideTakeAsLongAsTheFullestLane() {
        #expect(RecoveryRates.elapsed([4, 3, 2, 1], lanes: 2) == 5)
        #expect(RecoveryRates.elapsed([4, 3, 2, 1], lanes: 1) == 10)
        #expect(RecoveryRates.elapsed([4, 3], lanes: 8) == 4)
        #expect(RecoveryRates.elapsed([], lanes: 2) == 0)
    }

    @Test func theHistoryKeepsTheNewestOfEachPhaseAndTellsWhatItCannotRead() throws {
        let folder = try TemporaryFolder()
        defer { try? folder.remove() }
        let history = RateHistory(stateFolder: folder.path)
        #expect(history.measurements().measurements.isEmpty)
        for round in 0..<30 {
            try history.add([measured(1, Double(round)), measured(1, 5, component: "other")], stack: "shop")
        }
        let kept = history.measurements().measurements
        #expect(kept.filter { $0.component == "database" }.map(\.seconds) == (10..<30).map(Double.init))
        #expect(kept.count == 40)

        try AtomicFile.write("{", to: "\(folder.path)/rates/broken.json")
        let (whole, problems) = history.measurements()
        #expect(whole == kept)
        #expect(problems.count == 1 && problems[0].message.contains("broken.json"))
        try history.add([measured(1, 1, stack: "broken")], stack: "broken")
        #expect(history.measurements().problems.isEmpty)
    }
}
