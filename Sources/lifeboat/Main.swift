// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCommands
import LifeboatCore
import LifeboatIO

@main
struct Main {
    static func main() {
        Allocator.limitArenas()
        let environment = CommandContext.processEnvironment()
        CrashReports.disable(environment: environment)
        let cancellation = Cancellation()
        let output = CommandOutput.process()
        do {
            try CoreDumps.disable()
            try SignalThread.install(cancellation)
        } catch {
            try? output.error.write(LifeboatError.converting(error).description + "\n")
            exit(ExitCode.failed.rawValue)
        }
        let context = CommandContext(
            clock: SystemClock(), environment: environment, workingDirectory: CommandContext.processFolder(),
            terminal: .current(environment: environment), output: output, input: StandardInput(),
            processRunner: SystemProcessRunner(), cancellation: cancellation, host: .current())
        exit(LifeboatProgram.run(Array(CommandLine.arguments.dropFirst()), context).rawValue)
    }
}
