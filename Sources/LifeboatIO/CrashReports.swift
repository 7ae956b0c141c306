// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What a process that dies of a fault prints.
///
/// The Swift runtime catches the signals of a fault and runs a program that prints a backtrace with the memory around
/// it: into cron's mail, and without an end where memory is limited. A backup program knows secrets, so it dies like any
/// other program instead.
package enum CrashReports {
    /// The signals that the runtime catches (SwiftRuntime's CrashHandlerLinux).
    package static let signals: [Int32] = [SIGQUIT, SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGTRAP]

    /// Gives these signals their default action, unless `SWIFT_BACKTRACE` in the environment asks for a backtrace.
    /// Called before other threads are started.
    package static func disable(environment: [String: String]) {
        guard !isWanted(environment["SWIFT_BACKTRACE"]) else { return }
        for signal in signals { Glibc.signal(signal, SIG_DFL) }
    }

    /// `enable=yes` among the settings, parted by commas.
    static func isWanted(_ settings: String?) -> Bool {
        settings?.split(separator: ",").last { $0.hasPrefix("enable=") }
            .map { ["yes", "on", "true", "y", "t", "1", "tty"].contains($0.dropFirst(7).lowercased()) } ?? false
    }
}
