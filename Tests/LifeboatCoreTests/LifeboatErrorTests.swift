// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import Testing

@Suite struct LifeboatErrorTests {
    enum Closed: Error, LifeboatErrorConvertible {
        case full
        var lifeboatError: LifeboatError {
            LifeboatError("the disk is full", causes: ["no space left on device (ENOSPC)"], hint: "Free some space.")
        }
    }

    struct Foreign: Error, CustomStringConvertible {
        var description: String { "something else" }
    }

    @Test func printsHeadlineCausesAndHint() {
        let error = LifeboatError(
            "cannot read file '/srv/docs/a.txt'", causes: ["permission denied (EACCES)", "the folder is not ours"],
            hint: "Run lifeboat as a user that may read it.")
        #expect(
            "\(error)" == """
                error: cannot read file '/srv/docs/a.txt'
                cause: permission denied (EACCES)
                cause: the folder is not ours
                hint: Run lifeboat as a user that may read it.
                """)
        #expect("\(LifeboatError("no repository"))" == "error: no repository")
    }

    @Test func wrappingTurnsTheHeadlineIntoTheFirstCause() {
        let inner = LifeboatError(
            "cannot open 'x'", causes: ["no such file (ENOENT)"], hint: "Create it.", exitCode: .noRepository)
        let outer = inner.wrapped("cannot back up 'documents'")
        #expect(
            "\(outer)" == """
                error: cannot back up 'documents'
                cause: cannot open 'x'
                cause: no such file (ENOENT)
                hint: Create it.
                """)
        #expect(outer.exitCode == .noRepository)
        #expect(inner.wrapped("again", hint: "Other.").hint == "Other.")
    }

    @Test func errorsConvertWithTheirCausesKept() {
        #expect(LifeboatError.converting(Closed.full) == Closed.full.lifeboatError)
        #expect(
            LifeboatError.converting(Closed.full, "cannot write pack").causes
                == ["the disk is full", "no space left on device (ENOSPC)"])
        #expect(LifeboatError.converting(Closed.full, "cannot write pack").hint == "Free some space.")
        let already = LifeboatError("a", exitCode: .busy)
        #expect(LifeboatError.converting(already) == already)
        #expect(LifeboatError.converting(CancellationError()).exitCode == .interrupted)
        #expect(LifeboatError.converting(CancellationError(), "backup stopped").exitCode == .interrupted)
        #expect(LifeboatError.converting(Foreign(), "cannot do it").causes == ["something else"])
        #expect(LifeboatError.converting(Foreign(), "cannot do it").exitCode == .failed)
        #expect("\(LifeboatError.converting(Foreign()))" == "error: something else")
    }

    @Test func cancellationThrowsInterruptedOnceSet() throws {
        let cancellation = Cancellation()
        try cancellation.check()
        #expect(!cancellation.isCancelled)
        cancellation.cancel()
        #expect(cancellation.isCancelled)
        #expect(throws: LifeboatError.interrupted) { try cancellation.check() }
    }

    @Test func exitCodesAreTheDocumentedNumbers() {
        // The command-line contract; scripts of users rest on these.
        let numbers = Dictionary(uniqueKeysWithValues: ExitCode.allCases.map { ("\($0)", $0.rawValue) })
        #expect(
            numbers == [
                "done": 0, "failed": 1, "usage": 2, "incomplete": 3, "objectiveMissed": 4, "noRepository": 10,
                "busy": 11, "wrongKey": 12, "damagedRepository": 13, "rolledBack": 14, "interrupted": 130,
            ])
        for code in ExitCode.allCases {
            #expect(!code.meaning.isEmpty && !code.meaning.hasSuffix("."))
        }
        #expect(Set(ExitCode.allCases.map(\.meaning)).count == ExitCode.allCases.count)
    }
}
