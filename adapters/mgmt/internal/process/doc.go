// Package process says what this process uses of the machine, by the operating
// system's count. It keeps no state and starts nothing.
package process
