// SPDX-License-Identifier: Apache-2.0

import LifeboatCore
import Testing

@Suite struct SecretTests {
    struct Login {
        var user = "app"
        var password = Secret("hunter2-ünïcode")
    }

    @Test func noWayOfPrintingShowsIt() {
        let secret = Secret("hunter2-ünïcode")
        var dumped = ""
        dump(secret, to: &dumped)
        dump(Login(), to: &dumped)
        let printed = [
            "\(secret)", String(describing: secret), String(reflecting: secret), "\(Optional(secret) as Any)",
            "\([secret])", "\(["p": secret])", "\(Login())", String(reflecting: Login()), dumped,
            "\(Mirror(reflecting: secret).children.map { "\($0)" })",
            "\(LifeboatError("cannot log in with \(secret)", causes: ["\([secret])"]))",
        ]
        for text in printed {
            #expect(!text.contains("hunter2"), "\(text.count) characters of output show the secret")
        }
        #expect("\(secret)" == "<secret>")
    }

    @Test func revealHandsItOutAndPassesErrorsThrough() {
        let secret = Secret("hunter2")
        #expect(secret.reveal { $0.count } == 7)
        #expect(throws: LifeboatError.interrupted) {
            try secret.reveal { _ in throw LifeboatError.interrupted }
        }
    }

    @Test func secretsCompareByValue() {
        #expect(Secret("a") == Secret("a"))
        #expect(Secret("a") != Secret("b"))
    }
}
