// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import LifeboatIO
import LifeboatServices
import LifeboatTesting
import Testing

/// A real Docker Engine with a real Compose project.
@Suite(.enabled(if: DockerCompose.shouldRun, .init(rawValue: DockerCompose.skipReason)))
struct ComposeServicesTests {
    @Test(arguments: ComposeFixture.Access.allCases) func `a compose project keeps the contract`(
        _ access: ComposeFixture.Access
    ) throws {
        let fixture = try ComposeFixture(try .shared(), access: access)
        defer { fixture.remove() }
        for contract in ServiceManagerContract.all {
            let start = SystemClock().monotonicSeconds()
            do {
                try contract.check(fixture)
            } catch {
                Issue.record("\(contract): \(error)")
            }
            print("TIMING", access, contract, SystemClock().monotonicSeconds() - start)
            try fixture.reset()
        }
    }
}
