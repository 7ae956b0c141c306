// SPDX-License-Identifier: Apache-2.0

/// A first-in first-out queue between threads that holds at most `capacity` elements: a full queue blocks its
/// producers, which is the backpressure of the data path.
package final class BoundedQueue<Element>: Sendable {
    private struct State {
        var elements: [Element?] = []
        var head = 0
        var count = 0
        var closed = false
    }

    private let monitor: Monitor<State>
    private let capacity: Int

    package init(capacity: Int) {
        precondition(capacity > 0, "a queue holds at least one element")
        self.capacity = capacity
        monitor = Monitor(State(elements: Array(repeating: nil, count: capacity)))
    }

    /// Blocks while the queue is full. False when the queue is closed: the element was not taken.
    package func push(_ element: sending Element) -> Bool {
        let box = element
        return monitor.wait { state -> Bool? in
            if state.closed { return false }
            guard state.count < capacity else { return nil }
            state.elements[(state.head + state.count) % capacity] = box
            state.count += 1
            return true
        }
    }

    /// Blocks while the queue is empty. Nil when it is closed and drained.
    package func pop() -> sending Element? {
        let result: Element?? = monitor.wait { state -> Element?? in
            if state.count > 0 {
                let element = state.elements[state.head].take()
                state.head = (state.head + 1) % capacity
                state.count -= 1
                return .some(element)
            }
            return state.closed ? .some(nil) : nil
        }
        nonisolated(unsafe) let element = result ?? nil  // handed over whole: the queue keeps no reference
        return element
    }

    /// No more elements will come; what is queued can still be taken. Idempotent.
    package func close() {
        monitor.update { $0.closed = true }
    }

    /// Closes and drops what is queued: the way out after a failure.
    package func abandon() {
        monitor.update { state in
            state.closed = true
            for index in state.elements.indices { state.elements[index] = nil }
            state.count = 0
        }
    }
}
