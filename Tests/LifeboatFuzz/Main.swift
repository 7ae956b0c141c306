// SPDX-License-Identifier: Apache-2.0

import Glibc
import LifeboatCore
import LifeboatIO

/// Runs parsers on hostile input, in a process of its own: a trap ends the process.
///
///     LifeboatFuzz list                                   names of the targets
///     LifeboatFuzz replay CORPUS CURRENT                  every input of CORPUS/TARGET/, as it is
///     LifeboatFuzz mutate TARGET CORPUS CURRENT SEED RUNS RUNS inputs made of those of CORPUS/TARGET/
///     LifeboatFuzz trap                                   dies of a trap, as a bug would
///
/// Before an input is used it is written to CURRENT: after a crash it is there. `scripts/fuzz` builds the same program
/// with libFuzzer, which is guided by coverage; the target is then in LIFEBOAT_FUZZ_TARGET.
@main
struct Main {
    static func main() {
        #if LIFEBOAT_LIBFUZZER
            runLibFuzzer()
        #else
            do {
                try run(Array(CommandLine.arguments.dropFirst()))
            } catch {
                fail(LifeboatError.converting(error).description)
            }
        #endif
    }

    private static func fail(_ message: String) -> Never {
        complain(message)
        exit(2)
    }

    private static func target(_ name: String) -> FuzzTarget {
        guard let target = FuzzTarget(rawValue: name) else { fail("there is no target '\(name)'") }
        return target
    }

    #if LIFEBOAT_LIBFUZZER
        private static func runLibFuzzer() {
            var count = CommandLine.argc
            var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
            exit(driver(&count, &arguments) { fuzzOne($0, $1) })
        }
    #else
        /// More than any input needs; an allocation of a size that somebody wrote down fails.
        private static let memoryLimit: rlim_t = 16 << 30
        /// Seconds for one input. A parser that takes them hangs.
        private static let patience: UInt32 = 120

        private static func run(_ words: [String]) throws {
            switch (words.first, words.count) {
            case ("list", 1): print(FuzzTarget.allCases.map(\.rawValue).joined(separator: "\n"))
            case ("trap", 1):
                CrashReports.disable(environment: environment())
                trap(words.count)
            case ("replay", 3):
                limit()
                let current = try OwnedDescriptor.open(words[2], O_WRONLY | O_CREAT | O_TRUNC)
                var count = 0
                for target in FuzzTarget.allCases {
                    for input in try corpus("\(words[1])/\(target.rawValue)") {
                        try use(input, target, current, words[2])
                        count += 1
                    }
                }
                print("replayed \(count) inputs")
            case ("mutate", 6):
                guard let seed = UInt64(words[4]), let runs = Int(words[5]) else { fail("SEED and RUNS are numbers") }
                limit()
                let target = target(words[1])
                let current = try OwnedDescriptor.open(words[3], O_WRONLY | O_CREAT | O_TRUNC)
                var mutator = FuzzMutator(seed: seed, corpus: try corpus("\(words[2])/\(target.rawValue)"))
                for _ in 0..<runs { try use(mutator.next(), target, current, words[3]) }
                print("\(target.rawValue): \(runs) inputs from seed \(seed)")
            default: fail("usage: LifeboatFuzz list | replay … | mutate … | trap")
            }
        }

        private static func use(
            _ input: [UInt8], _ target: FuzzTarget, _ current: borrowing OwnedDescriptor, _ path: String
        ) throws {
            try input.withUnsafeBytes { try DescriptorIO.write(current.raw, at: 0, $0, path) }
            guard ftruncate(current.raw, off_t(input.count)) == 0 else { throw SystemCallError("cut", path) }
            alarm(patience)
            target.run(input)
            alarm(0)
        }

        /// In the order of their names, at least one.
        private static func corpus(_ folder: String) throws -> [[UInt8]] {
            let names = try FileTree.names(in: folder).sorted()
            guard !names.isEmpty else { fail("there are no inputs in '\(folder)'") }
            return try names.map { try SmallFile.contents("\(folder)/\($0)") ?? [] }
        }

        private static func limit() {
            CrashReports.disable(environment: environment())
            var limit = rlimit(rlim_cur: memoryLimit, rlim_max: memoryLimit)
            setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
            var core = rlimit(rlim_cur: 0, rlim_max: 0)
            setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &core)
        }

        private static func environment() -> [String: String] {
            getenv("SWIFT_BACKTRACE").map { ["SWIFT_BACKTRACE": String(cString: $0)] } ?? [:]
        }

        /// Reads beyond the end of an array that the compiler knows nothing of.
        private static func trap(_ count: Int) -> Never {
            let secret = Array("secret in memory".utf8)
            exit(Int32(secret[count + secret.count]))
        }
    #endif
}

private func complain(_ message: String) {
    // Nobody is left to tell when standard error is gone.
    try? Array("\(message)\n".utf8).withUnsafeBytes { try DescriptorIO.write(2, $0, "standard error") }
}

#if LIFEBOAT_LIBFUZZER
    @_silgen_name("LLVMFuzzerRunDriver")
    private func driver(
        _ count: UnsafeMutablePointer<Int32>,
        _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
        _ one: @convention(c) (UnsafePointer<UInt8>?, Int) -> Int32
    ) -> Int32

    private let chosen: FuzzTarget = {
        guard let name = getenv("LIFEBOAT_FUZZ_TARGET"), let target = FuzzTarget(rawValue: String(cString: name)) else {
            complain("LIFEBOAT_FUZZ_TARGET names no target")
            exit(2)
        }
        return target
    }()

    private func fuzzOne(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
        chosen.run(Array(UnsafeBufferPointer(start: bytes, count: count)))
        return 0
    }
#endif
